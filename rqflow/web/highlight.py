"""Source as HTML with classes, a line at a time."""

from __future__ import annotations

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.util import ClassNotFound

#: Characters of a file beyond which it is shown plain: colouring takes about a second a megabyte.
MOST = 300_000


def lines_of(text: str, path: str) -> list[Markup]:
    """Return the lines of a file, coloured as its name says; each is whole by itself."""
    text = text.replace("\r\n", "\n").removesuffix("\n")
    if len(text) > MOST:
        return [escape(line) for line in text.split("\n")]
    made = highlight(text, _lexer(path), HtmlFormatter(nowrap=True)).removesuffix("\n")
    return [Markup(line) for line in made.split("\n")]  # noqa: S704 - of Pygments, which escapes


def _lexer(path: str) -> Lexer:
    try:
        return get_lexer_for_filename(path, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return TextLexer(stripnl=False, ensurenl=False)
