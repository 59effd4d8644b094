"""Template files: commands and statements that stand in a file of their own, beside the DAG file or in template_searchpath.

They travel in the version's sources: what lies below the DAG's folder under its own path, what lies in a searchpath elsewhere under
`SEARCHPATH/<number of the searchpath>/…`.
"""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rqflow.dag.version import Version

#: Template field -> endings by which its value names a file.
ENDINGS: dict[str, tuple[str, ...]] = {
    "bash_command": (".sh", ".bash"),
    "sql": (".sql", ".hql", ".ddl"),
    "html_content": (".html",),
    "requirements": (".txt",),
}
SEARCHPATH = ".rqflow-searchpath"


def texts(value: Any) -> Iterator[str]:
    """Give the texts in a field's value: itself, or those in lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def is_file_name(text: str, endings: Sequence[str]) -> bool:
    """Tell whether a text is the name of a template file: one line that ends so, no blank after it, no template itself."""
    return text.endswith(tuple(endings)) and not re.search(r"[\n\r]|\{[{%#]", text)


def is_command(name: str) -> bool:
    """Tell whether a name that no file was found for can be meant as a command: an absolute path, or several words."""
    return name.startswith(("/", "~", "$")) or bool(re.search(r"[\s;&|<>]", name))


def candidates(name: str, file: str, searchpaths: int) -> Iterator[str]:
    """Give the keys of sources under which the template file `name` of the DAG file `file` may stand, best first."""
    if ".." in name.split("/"):
        return
    clean = posixpath.normpath(name).lstrip("/")
    yield posixpath.join(posixpath.dirname(file), clean)
    yield from (f"{SEARCHPATH}/{number}/{clean}" for number in range(searchpaths))
    yield clean


def find(name: str, version: Version) -> str | None:
    """Return the key of the version's sources that holds the file `name`, None when there is none."""
    return next((key for key in candidates(name, version.file, len(version.template_searchpath)) if key in version.sources), None)


def bytes_of(source: Any) -> bytes:
    """Return an entry of sources as the bytes of the file."""
    return source.encode() if isinstance(source, str) else base64.b64decode(source["base64"])


def text_of(source: Any) -> str:
    """Return an entry of sources as text; raises UnicodeDecodeError when it is none."""
    return source if isinstance(source, str) else bytes_of(source).decode()
