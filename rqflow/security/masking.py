"""Keeping secrets out of texts: which names stand for secrets, and how their values are blotted out in a stream of bytes.

Blotted is each byte that belongs to any occurrence of any secret, by one `*` a byte. So what a byte becomes depends on its neighbours
only, never on how a log was cut into pieces, and places in a log stay what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

#: Shorter ones are no secrets: to blot out a word of three letters spoils a log and protects nothing.
SHORTEST = 4
#: What is shown in the place of a secret.
STARS = "***"
#: Parts of names by which Airflow, too, knows that a value is secret.
_SENSITIVE = re.compile(
    r"access_?token|api_?key|apikey|authorization|passphrase|passwd|password|private_?key|secret|token|keyfile_dict|service_account|"
    r"credential", re.IGNORECASE,
)
#: Settings of drivers, and words, that stand under such names and are no secrets.
_HARMLESS = frozenset({"true", "false", "none", "null", "required", "disable", "allow", "prefer", "require"})


def is_sensitive(name: str) -> bool:
    """Tell whether what has this name is a secret, going by the name alone."""
    return bool(_SENSITIVE.search(name))


def secret_texts(value: Any, *, name: str = "", all_of_it: bool = False) -> Iterator[str]:
    """Give the secret texts in a JSON value: those under sensitive names, or `all_of_it`."""
    is_secret = all_of_it or is_sensitive(name)
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from secret_texts(item, name=str(key), all_of_it=is_secret)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secret_texts(item, all_of_it=is_secret)
    elif is_secret and isinstance(value, str):
        yield value


def in_json(text: str) -> list[str]:
    """Return what is secret in a secret text: itself, and the texts in it when it is a JSON object or list."""
    try:
        plain = json.loads(text)
    except ValueError:
        return [text]
    inner = list(secret_texts(plain, all_of_it=True)) if isinstance(plain, dict | list) else []
    return [text, *inner]


class Masker:
    """Blots out secrets in bytes."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Blot out these, also as they look in a URL and in JSON; those that are too short are left alone."""
        self._needles: dict[bytes, None] = {}
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Blot out these, too. Each line of one of several lines counts by itself, for a log may indent them."""
        for secret in secrets:
            for part in {secret, *secret.splitlines()}:
                word = part.strip()
                if len(word) >= SHORTEST and word.lower() not in _HARMLESS:
                    forms = {word, quote(word, safe=""), quote_plus(word), json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1]}
                    self._needles |= {form.encode("utf-8", "surrogateescape"): None for form in sorted(forms) if _is_text(form)}

    def __bool__(self) -> bool:
        """Tell whether there is anything to blot out."""
        return bool(self._needles)

    @property
    def reach(self) -> int:
        """How many bytes on either side decide about a byte."""
        return max(map(len, self._needles), default=1) - 1

    def blot(self, data: bytes) -> bytes:
        """Return `data` with a `*` in the place of each byte of a secret."""
        blotted: bytearray | None = None
        for needle in self._needles:
            at = data.find(needle)
            while at >= 0:
                blotted = bytearray(data) if blotted is None else blotted
                blotted[at:at + len(needle)] = b"*" * len(needle)
                at = data.find(needle, at + 1)
        return data if blotted is None else bytes(blotted)

    def sure(self, data: bytes) -> int:
        """Return how many bytes from the start of `data` do not depend on what follows it: no secret begins before there that is cut off."""
        sure = len(data)
        for needle in self._needles:
            for length in range(min(len(needle) - 1, len(data)), 0, -1):
                if data.endswith(needle[:length]):
                    sure = min(sure, len(data) - length)
                    break
        return sure

    def hide(self, value: Any) -> Any:
        """Return a JSON value whose texts have their secrets blotted out so."""
        if isinstance(value, str):
            return self.text(str(value))
        if isinstance(value, Mapping):
            return {key: self.hide(item) for key, item in value.items()}
        return [self.hide(item) for item in value] if isinstance(value, list | tuple) else value

    def text(self, text: str) -> str:
        """Return a text with its secrets blotted out by a fixed number of stars."""
        for needle in sorted(self._needles, key=len, reverse=True):
            text = text.replace(needle.decode("utf-8", "surrogateescape"), STARS)
        return text


def _is_text(form: str) -> bool:
    try:
        form.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return bool(form)
