"""API keys in a SQLite file."""

import re
import time
from pathlib import Path

from turnwise.core.access import KEY_ROLES, KeyRole
from turnwise.core.api_keys import (
    DEFAULT_KEY_CONSENT,
    KEY_SCHEME,
    VISIBLE_LENGTH,
    ApiKey,
    KeyStore,
    generate_key,
    hash_key,
)
from turnwise.core.collected_answers import CONSENTS, Consent
from turnwise.core.errors import InvalidParameter, LastAdminKey, NotFound, did_you_mean
from turnwise.store.sqlite.key_database import KeyDatabase

_NAME = re.compile(r"\w[\w .@+-]{0,63}")
_COLUMNS = "name, prefix, digest, created, used, rate, concurrent"


class SqliteKeyStore:
    """The `KeyStore` port on a file. The first `create` creates the file."""

    def __init__(self, path: Path) -> None:
        self._database = KeyDatabase(path)

    def list(self) -> list[ApiKey]:
        """All keys, oldest first; empty if the file is missing."""
        with self._database.read_connection() as opened:
            if opened is None:
                return []
            connection, version = opened
            role = "role" if version > 1 else "'admin'"  # reading migrates nothing
            consent = "consent" if version > 2 else f"'{DEFAULT_KEY_CONSENT}'"
            query = f"SELECT {_COLUMNS}, {role}, {consent} FROM keys ORDER BY number"  # noqa: S608
            rows = connection.execute(query).fetchall()
        return [ApiKey(*row) for row in rows]

    def create(
        self,
        name: str,
        *,
        role: KeyRole = "user",
        requests_per_minute: int | None = None,
        max_concurrent: int | None = None,
        consent: Consent = DEFAULT_KEY_CONSENT,
    ) -> str:
        """Create a key and return it. It cannot be retrieved later.

        Raises:
            InvalidParameter: the name exists or is invalid, there is no such role or consent, or a limit is out of
                range.
            SaveFailed: the write failed.
        """
        _check_name(name)
        if role not in KEY_ROLES:
            raise InvalidParameter("role", f"'{role}' is no role of a key; {did_you_mean(role, KEY_ROLES)}")
        if consent not in CONSENTS:
            raise InvalidParameter("collect", f"'{consent}' is no consent; {did_you_mean(consent, CONSENTS)}")
        for limit, value in (("requests_per_minute", requests_per_minute), ("max_concurrent", max_concurrent)):
            if value is not None and not 1 <= value <= 1_000_000:
                raise InvalidParameter(limit, f"'{limit}' must be between 1 and 1,000,000, got {value}.")
        with self._database.write_transaction() as connection:
            if connection.execute("SELECT 1 FROM keys WHERE name = ?", (name,)).fetchone():
                raise InvalidParameter("name", f"There is a key named '{name}' already; revoke it, or choose another.")
            key = generate_key()
            while connection.execute("SELECT 1 FROM keys WHERE prefix = ?", (key[:VISIBLE_LENGTH],)).fetchone():
                key = generate_key()
            connection.execute(
                "INSERT INTO keys (name, prefix, digest, created, rate, concurrent, role, consent)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, key[:VISIBLE_LENGTH], hash_key(key), time.time(), requests_per_minute, max_concurrent, role,
                 consent),
            )  # fmt: skip
        return key

    def revoke(self, name_or_prefix: str, *, keep_last_admin: bool = False) -> ApiKey:
        """Delete a key.

        Raises:
            NotFound: there is no such key.
            LastAdminKey: it is the last key of an admin, and `keep_last_admin` is set.
        """
        column = "prefix" if name_or_prefix.startswith(KEY_SCHEME) else "name"
        matches = [stored for stored in self.list() if getattr(stored, column) == name_or_prefix]
        if not matches:
            displayed = name_or_prefix[:VISIBLE_LENGTH] + "…" if len(name_or_prefix) > 64 else name_or_prefix
            raise NotFound(f"There is no key '{displayed}'. `turnwise keys list` shows names and prefixes.")
        [revoked] = matches
        with self._database.write_transaction() as connection:  # counts here: two admins may revoke each other's keys
            admins = connection.execute("SELECT prefix FROM keys WHERE role = 'admin'").fetchall()
            if keep_last_admin and admins == [(revoked.prefix,)]:
                raise LastAdminKey(
                    f"'{revoked.name}' is the last key of an admin. Create another one first: without it, nobody could "
                    "manage the server over HTTP."
                )
            connection.execute("DELETE FROM keys WHERE prefix = ?", (revoked.prefix,))
        return revoked

    def record_use(self, prefix: str, when: float) -> None:
        """Store the time of the last use. Does nothing if the key was deleted."""
        with self._database.write_transaction() as connection:
            connection.execute("UPDATE keys SET used = MAX(?, COALESCE(used, 0)) WHERE prefix = ?", (when, prefix))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.startswith(KEY_SCHEME):
        raise InvalidParameter(
            "name",
            "A key's name has 1 to 64 characters (letters, digits, spaces, . _ @ + -), starts with a letter or digit "
            f"and not with '{KEY_SCHEME}'.",
        )


_: type[KeyStore] = SqliteKeyStore  # the type checker compares it with the port
