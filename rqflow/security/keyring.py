"""The Fernet keys by which Variables and Connections are sealed in SQL and in Redis.

A sealed text carries the name of its key, eight hex digits of the key's sha256, so that several keys can be in use: the first seals, any
may open. Without security.fernet_key there is a key of this home's own, in a file that is made when something is sealed for the first time.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rqflow.exceptions import ConfigError
from rqflow.security.sealing import BoxKey, Unsealable
from rqflow.settings import Settings

#: In HOME, for its owner only.
KEY_FILE = "fernet.key"
SETTING = "security.fernet_key"
_HINT = (f"Set {SETTING} (RQFLOW__SECURITY__FERNET_KEY) to the key with which they were stored, as the hub has it; "
         "several keys may stand there, separated by commas. Nothing was changed.")
_KEY_BYTES = 32


class WrongKey(ConfigError):
    """What is stored was sealed with a key that this process does not have."""


class Keyring:
    """The keys of this installation, as far as this process knows them."""

    def __init__(self, keys: Sequence[str], *, file: Path | None = None, boxes: Iterable[BoxKey] = ()) -> None:
        """Use `keys`, the first of which seals; without any the one in `file`, if there is a file. What was sealed for one of the `boxes` is opened,
        too. Raises ConfigError for what is no key.
        """
        self._file = file
        self._keys = {name_of(key): key for key in map(_checked, keys)}
        self._boxes = tuple(boxes)

    @classmethod
    def of(cls, settings: Settings, *, boxes: Iterable[BoxKey] = ()) -> Keyring:
        """Return the keys that the settings name, else the one of this home."""
        given = [key.strip() for key in settings.security.fernet_key.split(",") if key.strip()]
        return cls(given, file=None if given else settings.home / KEY_FILE, boxes=boxes)

    @property
    def keys(self) -> dict[str, str]:
        """The keys by their names, the one that seals first; empty when there is none yet. Raises ConfigError for a file that holds none."""
        if not self._keys and self._file is not None:
            self._keys = _from_file(self._file)
        return self._keys

    def check(self, names: Collection[str]) -> None:
        """Raise WrongKey when something is sealed with a key that is not here; `names` are those of the keys in use."""
        if unknown := sorted(set(names) - self.keys.keys()):
            raise WrongKey(f"what is stored was sealed with the key {unknown[0]}, and this process has {_said(self.keys)}", hint=_HINT)

    def ensure(self) -> None:
        """Make the home's key when there is none at all. Raises ConfigError."""
        if not self.keys and self._file is not None:
            make_key(self._file)

    def seal(self, text: str) -> tuple[str, str]:
        """Return the name of the key and the sealed text; makes the home's key when there is none at all. Raises ConfigError."""
        from cryptography.fernet import Fernet  # here: takes 20 ms and 5 MB, which most processes never need

        self.ensure()
        if not self.keys:
            raise WrongKey("there is no key to seal this with", hint=_HINT)
        name, key = next(iter(self.keys.items()))
        return name, Fernet(key).encrypt(text.encode("utf-8", "surrogatepass")).decode()

    def open(self, name: str, sealed: str, what: str) -> str:
        """Return the text that was sealed with the key `name`; `what` it is, in words. Raises WrongKey."""
        from cryptography.fernet import Fernet, InvalidToken  # here: see `seal`

        if box := next((one for one in self._boxes if one.name == name), None):
            try:
                return box.open(sealed)
            except Unsealable as error:
                raise WrongKey(f"{what} is damaged: {error.message}", hint="If that stays so: `rqflow worker join` again.") from error
        key = self.keys.get(name)
        if key is None:
            raise WrongKey(f"{what} was sealed with the key {name}, and this process has {_said(self.keys)}", hint=_HINT)
        try:
            return Fernet(key).decrypt(sealed.encode()).decode("utf-8", "surrogatepass")
        except InvalidToken as error:
            raise WrongKey(f"{what} is damaged: the key {name} does not open it", hint=_HINT) from error


def name_of(key: str) -> str:
    """Return the name by which a key is known; it tells nothing of the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def new_key() -> str:
    """Return a fresh key as text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def make_key(file: Path) -> None:
    """Make the file with a fresh key, for its owner only; one that somebody else makes at the same moment stays. Raises ConfigError."""
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(new_key() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        # A link, not a rename: only the first of several makers gets the name.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, file)
    except OSError as error:
        raise ConfigError(f"the key file {file} cannot be made: {error.strerror}", hint=f"Make room, or set {SETTING}.") from error
    finally:
        fresh.unlink(missing_ok=True)


def _from_file(file: Path) -> dict[str, str]:
    try:
        key = file.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"the key file {file} cannot be read: {error.strerror}", hint=f"Mend its permissions, or set {SETTING}.") from error
    try:
        # Several only where a backup of a hub with several was restored.
        return {name_of(one): _checked(one) for one in key.split() or [key]}
    except ConfigError as error:
        raise ConfigError(f"the key file {file} holds no Fernet key", hint="Put it back from a copy.") from error


def _checked(key: str) -> str:
    """Return a key that is one; raises ConfigError, which does not show it."""
    try:
        size = len(base64.urlsafe_b64decode(key.encode()))
    except (binascii.Error, UnicodeEncodeError, ValueError):
        size = 0
    if size != _KEY_BYTES:
        raise ConfigError(f"{SETTING}: this is no Fernet key: it must be {_KEY_BYTES} bytes in URL-safe base64, 44 characters",
                          hint='Make one with: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"')
    return key


def _said(keys: Collection[str]) -> str:
    return f"only {', '.join(keys)}" if keys else "no key"
