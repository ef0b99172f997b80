"""API keys: what is kept of one, and the port through which the server learns of them."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

KEY_SCHEME = "tw-"
VISIBLE_LENGTH = len(KEY_SCHEME) + 8  # characters of a key that may be shown; 224 secret bits stay


def generate_key() -> str:
    """256 random bits as text."""
    return KEY_SCHEME + secrets.token_hex(32)


def hash_key(key: str) -> bytes:
    """What is kept of a key. Its bits are random, so a plain hash is enough: there is nothing to guess."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key, which is not the key itself.

    Attributes:
        name: what its owner calls it; unique.
        prefix: the beginning of the key, `SHOWN` characters; unique.
        digest: SHA-256 of the key.
        created: seconds since 1970.
        used: when it was last used, to the minute; None for never.
        rate: most requests a minute; None for no limit.
        concurrent: most completions at the same time; None for no limit.
    """

    name: str
    prefix: str
    digest: bytes
    created: float
    last_used: float | None = None
    requests_per_minute: int | None = None
    max_concurrent: int | None = None

    def verify(self, key: str) -> bool:
        """Whether this is that key; takes the same time whatever differs."""
        return hmac.compare_digest(self.digest, hash_key(key))


class KeyStore(Protocol):
    """Remembers keys. Several processes may change it; what one wrote, the others read at their next call."""

    def list(self) -> Sequence[ApiKey]:
        """All keys, oldest first."""

    def create(self, name: str, *, rate: int | None = None, concurrent: int | None = None) -> str:
        """Make a key and return it; it cannot be had again. Raises `InvalidParameter` when the name is taken."""

    def revoke(self, name_or_prefix: str) -> ApiKey:
        """Forget a key. Raises `NotFound`."""

    def record_use(self, prefix: str, when: float) -> None:
        """Remember when a key was last used; nothing happens when it is gone."""
