"""Sealing for one reader: whoever has the public half of a key pair can seal, its owner alone can open (HPKE, RFC 9180, with X25519).

Such a text says nothing of who sealed it; `vouch` does, for two who know each other's public half. Keys are texts, 32 bytes in URL-safe base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from rqflow.exceptions import ConfigError
from rqflow.wire import encode

_KEY_BYTES = 32
#: What each use of these keys is for; a key that is derived for one is none for another.
_SEALED, _VOUCHED, _HUB = b"rqflow sealed secret", b"rqflow vouched request", b"rqflow hub of workers that joined"


class Unsealable(ConfigError):
    """A text was not sealed for this key, or was changed on its way."""


class BoxKey:
    """A key pair. Making one, or using it, loads a library of 5 MB; naming it does not."""

    def __init__(self, private: str) -> None:
        """Take the private half; raises ValueError for a text that is none."""
        self.private = private
        self._bytes = _key_bytes(private)

    @classmethod
    def fresh(cls) -> BoxKey:
        """Return a new key pair."""
        return cls(_text(secrets.token_bytes(_KEY_BYTES)))

    @classmethod
    def of_hub(cls, fernet_key: str) -> BoxKey:
        """Return the key pair of the hub whose Variables this Fernet key seals: every scheduler that has the one has the other."""
        from cryptography.hazmat.primitives.hashes import SHA256  # here: see the class
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return cls(_text(HKDF(SHA256(), _KEY_BYTES, None, _HUB).derive(_key_bytes(fernet_key))))

    @cached_property
    def public(self) -> str:
        """The public half."""
        return _text(self._key.public_key().public_bytes_raw())

    @property
    def name(self) -> str:
        """The name by which what is sealed for this key tells so."""
        return name_of(self.public)

    def open(self, sealed: str) -> str:
        """Return the text that was sealed for this key; raises Unsealable."""
        from cryptography.exceptions import InvalidTag  # here: see the class

        try:
            plain = _suite().decrypt(base64.urlsafe_b64decode(sealed), self._key, _SEALED)
        except (InvalidTag, ValueError) as error:
            raise Unsealable("this is not sealed for this key, or was changed on its way") from error
        return str(plain.decode("utf-8", "surrogatepass"))

    def vouch(self, other: str, said: Mapping[str, Any]) -> str:
        """Return what proves to the owner of the public half `other` that this one said it; raises ValueError for what is no key."""
        return hmac.new(self._shared(other), encode(_sorted(said)), hashlib.sha256).hexdigest()

    def is_vouched(self, other: str, said: Mapping[str, Any], proof: str) -> bool:
        """Tell whether the owner of the public half `other` said it."""
        return hmac.compare_digest(self.vouch(other, said), proof)

    def _shared(self, other: str) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # here: see the class
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        secret = self._key.exchange(X25519PublicKey.from_public_bytes(_key_bytes(other)))
        return HKDF(SHA256(), _KEY_BYTES, None, _VOUCHED).derive(secret)

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # here: see the class

        return X25519PrivateKey.from_private_bytes(self._bytes)


def seal(public: str, text: str) -> str:
    """Seal a text for the owner of a public half; raises ValueError for what is none."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # here: see BoxKey

    key = X25519PublicKey.from_public_bytes(_key_bytes(public))
    return base64.urlsafe_b64encode(_suite().encrypt(text.encode("utf-8", "surrogatepass"), key, _SEALED)).decode()


def name_of(public: str) -> str:
    """Return the name of a key pair, by its public half; none that a Fernet key may have."""
    return f"box:{hashlib.sha256(public.encode()).hexdigest()[:16]}"


def is_public(text: str) -> bool:
    """Tell whether a text can be the half of a key pair."""
    try:
        _key_bytes(text)
    except ValueError:
        return False
    return True


def _suite() -> Any:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite  # here: see BoxKey

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _text(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


def _key_bytes(text: str) -> bytes:
    try:
        found = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("this is no key") from error
    if len(found) != _KEY_BYTES:
        raise ValueError(f"a key has {_KEY_BYTES} bytes, not {len(found)}")
    return found


def _sorted(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _sorted(value) if isinstance(value, Mapping) else value for name, value in sorted(said.items())}
