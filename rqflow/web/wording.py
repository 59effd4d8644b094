"""Words of errors and reasons as a page says them: they are worded for the command line, where a command is what helps; on a page a link helps, or a
button. Commands for which there is none stay, and look like commands. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from markupsafe import Markup, escape

#: (command without `rqflow`, where its page is or "", what is said in its place); {} is what the group found.
_COMMANDS = tuple((re.compile(rf"{pattern}(?:\s.*)?", re.DOTALL), path, words) for pattern, path, words in (
    ("dag list", "/dags", "the list of DAGs"),
    ("run list", "/runs", "the list of runs"),
    ("(?:worker|queue) (?:list|resume|forget)", "/workers", "the page Workers"),
    ("var list", "/variables", "the page Variables"),
    ("conn list", "/connections", "the page Connections"),
    ("pool list", "/pools", "the page Pools"),
    ("pool set", "/pools", "a change on the page Pools"),
    ("backfill list", "/backfills", "the list of backfills"),
    (r"backfill show (\d+)", "/backfills/{}", "its page"),
    (r"backfill cancel (\d+)", "/backfills/{}", "“Cancel” on its page"),
    ("user (?:owner )?(?:list|edit|enable|passwd)", "/users", "the page Users"),
    ("token (?:list|create)", "/tokens", "the page API tokens"),
    ("notice list", "/notices", "the page Notices"),
    (r"dag unpause (\S+)", "/dags/{}", "“Let it go on” on the page of {}"),
    (r"dag share (\S+)", "/dags/{}/details", "a share on the page of {}"),
    ("dag show DAG", "", "the page of the DAG"),
    (r"dag show (\S+)", "/dags/{}/details", "the page of {}"),
    (r"run start (\S+)", "/dags/{}/trigger", "“Start a run” of {}"),
    ("run show", "", "the page of the run"),
    ("run cancel", "", "“Cancel” on the page of the run"),
    ("run retry", "", "“Clear” on the page of the run"),
    ("(?:run|task) mark", "", "“Mark” on its page"),
    ("task clear", "", "“Clear” on its page"),
    ("task run-now", "", "“Run now” on its page"),
    ("task mark-lost", "", "“Mark lost” on its page"),
))
#: What options of commands are on forms.
_OPTIONS = tuple((re.compile(pattern), words) for pattern, words in (
    (r"--run-id ID\b", "another name"),
    (r"another --run-id\b", "another name"),
    (r" with --at\b", ""),
    (r"Leave --reverse out", "Let the first date come first"),
    (r"--reverse begins", "the other order begins"),
    (r"--conf is no JSON", "conf is no JSON"),
    (r"--conf '(.*?)' or --conf @file\.json", r"\1"),
))
#: First words that are no names, and get a capital letter.
_PLAIN = re.compile(r"(?:there|the|it|its|that|this|these|what|who|no|none|nobody|nothing|something|a|an|only|two|params|another)\b")
_QUOTED = re.compile(r"`([^`\n]+)`")


def said(text: object, *, begins: bool = True) -> Markup:
    """Return a message or a hint as HTML: with links in place of commands that have a page, other words in backticks as code, and a capital letter
    where it `begins` a sentence.
    """
    if isinstance(text, Markup):
        return text
    whole = str(text)
    for pattern, words in _OPTIONS:
        whole = pattern.sub(words, whole)
    return Markup("").join(_pieces(whole, begins=begins))


def _pieces(text: str, *, begins: bool) -> Iterator[Markup]:
    at = 0
    for found in _QUOTED.finditer(text):
        before = text[:found.start()].rstrip(" ")
        yield escape(_sentence(text[:found.start()]) if begins and not at else text[at:found.start()])
        yield _quoted(found[1], begins=before.endswith((".", "\n")) if before else begins)
        at = found.end()
    yield escape(_sentence(text) if begins and not at else text[at:])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if _PLAIN.match(text) else text


def _quoted(words: str, *, begins: bool) -> Markup:
    command = words.removeprefix("rqflow ")
    for pattern, path, instead in _COMMANDS if command != words else ():
        if match := pattern.fullmatch(command):
            name = match[1] if pattern.groups else ""
            shown = instead.format(name)
            shown = shown[:1].upper() + shown[1:] if begins else shown
            return Markup('<a href="{}">{}</a>').format(path.format(quote(name, safe="")), shown) if path else escape(shown)
    return Markup("<code>{}</code>").format(words)
