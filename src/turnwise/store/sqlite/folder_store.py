"""Folders of conversations in SQLite."""

import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from turnwise.core.access import Principal
from turnwise.core.conversation_folders import NO_FOLDER, Folder, FolderStore
from turnwise.core.errors import NotFound
from turnwise.store.sqlite.ownership import own_records

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_SELECT = """
    SELECT id, name, created, owner, (SELECT COUNT(*) FROM conversations WHERE folder = folders.number) FROM folders
"""


class SqliteFolderStore:
    """The `FolderStore` port on the database of the conversations."""

    def __init__(self, read: Transaction, write: Transaction, principal: Principal) -> None:
        self._read, self._write, self._principal = read, write, principal

    def create(self, name: str) -> Folder:
        """Create a folder."""
        with self._write() as connection:
            return insert_folder(connection, name, self._principal.owner)

    def list(self) -> Sequence[Folder]:
        """All folders, by name."""
        condition, values = own_records(self._principal)
        with self._read() as connection:
            rows = connection.execute(f"{_SELECT} WHERE {condition}", values).fetchall()
        return sorted((Folder(*row) for row in rows), key=lambda folder: (folder.name.casefold(), folder.created))

    def rename(self, folder_id: str, name: str) -> Folder:
        """Set the name."""
        with self._write() as connection:
            number = folder_number(connection, folder_id, self._principal)
            connection.execute("UPDATE folders SET name = ? WHERE number = ?", (name, number))
            return Folder(*connection.execute(f"{_SELECT} WHERE number = ?", (number,)).fetchone())

    def delete(self, folder_id: str) -> None:
        """Delete a folder; its conversations stay."""
        with self._write() as connection:
            number = folder_number(connection, folder_id, self._principal)
            connection.execute("DELETE FROM folders WHERE number = ?", (number,))


def insert_folder(connection: sqlite3.Connection, name: str, owner: str | None) -> Folder:
    """Create a folder in a transaction."""
    folder = Folder(f"folder_{secrets.token_hex(12)}", name, time.time(), owner)
    connection.execute(
        "INSERT INTO folders (id, name, created, owner) VALUES (?, ?, ?, ?)",
        (folder.id, folder.name, folder.created, folder.owner),
    )
    return folder


def folder_number(connection: sqlite3.Connection, folder_id: str | None, principal: Principal) -> int | None:
    """Row number of a folder; None for `NO_FOLDER` and None. Raises `NotFound`."""
    if folder_id in (None, NO_FOLDER):
        return None
    condition, values = own_records(principal)
    row = connection.execute(
        f"SELECT number FROM folders WHERE id = ? AND {condition}",  # noqa: S608
        (folder_id, *values),
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no folder '{str(folder_id)[:60]}'; it may have been deleted.")
    return int(row[0])


_: type[FolderStore] = SqliteFolderStore  # the type checker compares it with the port
