"""What no message may hold: the secrets that the hub knows. Logs are masked on their way; a reason, or a log of before, may not be."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from rqflow.exceptions import ConfigError
from rqflow.recorder import mirroring
from rqflow.security.entries import opened, secrets_of
from rqflow.security.keyring import Keyring
from rqflow.security.masking import Masker
from rqflow.settings import Settings, keys
from rqflow.store.engine import Connection


def masker(connection: Connection, settings: Settings) -> Masker:
    """Return what blots out the secrets of the settings, and those of Variables and Connections that can be opened here.

    Without their key people are told all the same.
    """
    found = Masker(of_settings(settings))
    for kind, entries in mirroring.stored(connection).items():
        for name, entry in entries.items():
            try:
                value = opened(Keyring.of(settings), kind, name, entry)
            except ConfigError:
                continue
            found.add(secrets_of(kind, name, value, is_secret=bool(entry.get("is_secret"))))
    return found


def of_settings(settings: Settings) -> Iterator[str]:
    """Give the secret values of the settings; of URLs the password, and the whole of them."""
    for section, one, _ in keys():
        text = str(getattr(getattr(settings, section), one.name)) if one.metadata["secret"] else ""
        if "://" not in text:
            yield text
            continue
        for url in text.split():
            yield url
            try:
                password = urlsplit(url).password
            except ValueError:
                continue
            if password:
                yield from (password, unquote(password))
