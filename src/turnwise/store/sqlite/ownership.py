"""Conditions of queries on the records that a principal can reach."""

import sqlite3

from turnwise.core.access import Principal
from turnwise.core.errors import InvalidParameter

Condition = tuple[str, tuple[str | None, ...]]


def own_records(principal: Principal) -> Condition:
    """Condition, with its values, on the column `owner`: own records, or all of them for an admin."""
    return ("1", ()) if principal.is_admin else ("owner = ?", (principal.owner,))  # a NULL equals nothing


def own_handoffs(principal: Principal) -> Condition:
    """Condition on the column `conversation`: hand-offs of own conversations."""
    condition, values = own_records(principal)
    return f"conversation IN (SELECT number FROM conversations WHERE {condition})", values  # noqa: S608


def visible_handoffs(principal: Principal) -> Condition:
    """Condition on the column `conversation`: hand-offs of own conversations, or all for those who answer them."""
    return ("1", ()) if principal.answers_handoffs else own_handoffs(principal)


def check_same_owner(connection: sqlite3.Connection, conversation: int, folder: int | None) -> None:
    """Raise `InvalidParameter` if a conversation and its folder, by their row numbers, belong to different keys."""
    (is_same,) = connection.execute(
        "SELECT (SELECT owner FROM conversations WHERE number = ?) IS (SELECT owner FROM folders WHERE number = ?)",
        (conversation, folder),
    ).fetchone()
    if folder is not None and not is_same:
        raise InvalidParameter("folder_id", "A conversation and its folder must have the same owner.")
