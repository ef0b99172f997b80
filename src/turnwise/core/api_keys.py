"""API keys: their stored form and the store's port."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from turnwise.core.access import KeyRole, Principal
from turnwise.core.collected_answers import Consent

KEY_SCHEME = "tw-"
VISIBLE_LENGTH = len(KEY_SCHEME) + 8  # leading characters that are safe to display; 224 bits stay secret

DEFAULT_KEY_CONSENT: Consent = "metadata"  # texts of others are collected only if somebody has decided so


def generate_key() -> str:
    """A new key with 256 random bits."""
    return KEY_SCHEME + secrets.token_hex(32)


def hash_key(key: str) -> bytes:
    """SHA-256 of a key. A plain hash is enough because the key is random."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored API key. The key itself is not stored.

    Attributes:
        name: name of the key; unique.
        prefix: the first `VISIBLE_LENGTH` characters of the key; unique.
        digest: SHA-256 of the key.
        created: Unix time in seconds.
        last_used: Unix time of the last use, accurate to a minute. None: never used.
        requests_per_minute: rate limit. None: unlimited.
        max_concurrent: maximum number of concurrent completions. None: unlimited.
        role: what requests with the key may do.
        consent: the most that may be collected of requests with the key.
    """

    name: str
    prefix: str
    digest: bytes
    created: float
    last_used: float | None = None
    requests_per_minute: int | None = None
    max_concurrent: int | None = None
    role: KeyRole = "user"
    consent: Consent = DEFAULT_KEY_CONSENT

    @property
    def principal(self) -> Principal:
        """The caller of requests with this key. A later key of the same name is the same caller."""
        return Principal(self.name, self.role)

    def verify(self, key: str) -> bool:
        """True if `key` is this key. Compares in constant time."""
        return hmac.compare_digest(self.digest, hash_key(key))


class KeyStore(Protocol):
    """Stores API keys. Several processes may use it; a change is visible to the next call of every process."""

    def list(self) -> Sequence[ApiKey]:
        """All keys, oldest first."""

    def create(
        self,
        name: str,
        *,
        role: KeyRole = "user",
        requests_per_minute: int | None = None,
        max_concurrent: int | None = None,
        consent: Consent = DEFAULT_KEY_CONSENT,
    ) -> str:
        """Create a key and return it. It cannot be retrieved later. Raises `InvalidParameter` if the name exists."""

    def revoke(self, name_or_prefix: str, *, keep_last_admin: bool = False) -> ApiKey:
        """Delete a key.

        Raises:
            NotFound: there is no such key.
            LastAdminKey: it is the last key of an admin, and `keep_last_admin` is set.
        """

    def record_use(self, prefix: str, when: float) -> None:
        """Store the time of the last use. Does nothing if the key was deleted."""
