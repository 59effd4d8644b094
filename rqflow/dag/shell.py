"""Where in a bash command a text ends: between words, or inside quotes, a here-document or a comment.

A word quoted for the shell is only safe between words. This is a scanner for what authors write, not a parser of bash; where it errs,
a template is refused that would have been safe.
"""

from __future__ import annotations

import re

_WORD_START = frozenset(" \t\n;&|(")
_HEREDOC = re.compile(r"<<(-?)[ \t]*(\\?)(['\"]?)([^\s'\";&|<>()]+)\3")
_NAMES = {"'": "single quotes", "$'": "single quotes", '"': "double quotes", "`": "backquotes"}


def inside(text: str) -> str:
    """Return what the end of `text` is inside of: "double quotes", "a here-document", "a comment" …; empty between words."""
    return _Scanner(text).run()


class _Scanner:
    """One pass over a text. The stack holds what is open: ', ", $', `, ( for a subshell, { for ${…}, a for arithmetic."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.open: list[str] = []
        self.heredocs: list[tuple[bool, str]] = []

    def run(self) -> str:
        """Scan to the end and say where that is."""
        while self.at < len(self.text):
            top = self.open[-1] if self.open else ""
            if top in {"'", "$'"}:
                self._in_single(top)
            elif top == '"':
                self._in_double()
            elif stopped := self._between_words(top):
                return stopped
        quotes = [one for one in self.open if one in _NAMES]
        if quotes and (self.open[-1] in _NAMES or (self.open[-1] == "{" and quotes[-1] == '"')):
            return _NAMES[quotes[-1]]
        return "backquotes" if "`" in self.open else ""

    def _in_single(self, top: str) -> None:
        if self.text[self.at] == "\\" and top == "$'":
            self.at += 1
        elif self.text[self.at] == "'":
            self.open.pop()
        self.at += 1

    def _in_double(self) -> None:
        if self.text[self.at] == '"':
            self.open.pop()
            self.at += 1
        elif not self._expansion():
            self.at += 2 if self.text[self.at] == "\\" else 1

    def _expansion(self) -> bool:
        """Enter or leave `…`, $(…), $((…)), ${…}; tell whether there was one."""
        for sign, opened in (("$((", "aa"), ("$(", "("), ("${", "{")):
            if self.text.startswith(sign, self.at):
                self.open.extend(opened)
                self.at += len(sign)
                return True
        if self.text[self.at] == "`":
            if "`" in self.open:
                del self.open[len(self.open) - 1 - self.open[::-1].index("`") :]
            else:
                self.open.append("`")
            self.at += 1
            return True
        return False

    def _between_words(self, top: str) -> str:
        """Take one step outside of quotes; return what the text ends in when that step reaches its end inside of something."""
        character = self.text[self.at]
        if character == "#" and top not in {"{", "a"} and (self.at == 0 or self.text[self.at - 1] in _WORD_START):
            return self._comment()
        if character == "\n" and self.heredocs:
            return self._bodies()
        if top != "a" and (heredoc := _HEREDOC.match(self.text, self.at)) and not self.text.startswith("<<<", self.at):
            self.heredocs.append((bool(heredoc[1]), heredoc[4]))
            self.at = heredoc.end()
        elif self.text.startswith("<<<", self.at):
            self.at += 3
        elif not self._expansion():
            self._sign(character, top)
        return ""

    def _sign(self, character: str, top: str) -> None:
        within_double = top == "{" and '"' in self.open
        if self.text.startswith("$'", self.at) and not within_double:
            self.open.append("$'")
            self.at += 1
        elif character == '"' or (character == "'" and not within_double):
            self.open.append(character)
        elif character == "(" and top != "{":
            self.open.append(top if top == "a" else "(")
        elif (character == ")" and top in {"(", "a"}) or (character == "}" and top == "{"):
            self.open.pop()
        self.at += 2 if character == "\\" else 1

    def _comment(self) -> str:
        end = self.text.find("\n", self.at)
        if end < 0:
            self.at = len(self.text)
            return "a comment"
        self.at = end
        return ""

    def _bodies(self) -> str:
        """Skip the bodies of the here-documents that begin in the next line."""
        self.at += 1
        for tabs, end in self.heredocs:
            while True:
                if self.at >= len(self.text):
                    return "a here-document"
                stop = self.text.find("\n", self.at)
                line = self.text[self.at :] if stop < 0 else self.text[self.at : stop]
                self.at = len(self.text) if stop < 0 else stop + 1
                if (line.lstrip("\t") if tabs else line) == end:
                    break
                if stop < 0:
                    return "a here-document"
        self.heredocs.clear()
        return ""
