"""Feedback in SQLite, in the database of the conversations."""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.collected_answers import Consent, stricter_consent
from turnwise.core.errors import Forbidden, NotFound
from turnwise.core.feedback import AnswerOrigin, AnswerReference, Feedback, FeedbackStore, NewFeedback, RatingCounts
from turnwise.store.sqlite.answer_rows import AnswerRow, find_answer, load_conversation_key, tags_from_json
from turnwise.store.sqlite.conversation_rows import conversation_number
from turnwise.store.sqlite.ownership import own_records

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

FEEDBACK_QUERY = """
    SELECT f.id, completions.id, f.choice, messages.id, f.created, f.owner, f.consent, f.version, f.weights,
        f.rating, f.correction, f.comment, f.tags, f.user, f.role
    FROM feedback AS f
    LEFT JOIN completions ON completions.number = f.completion
    LEFT JOIN messages ON messages.number = f.message
"""
# A later rating of the same person on the same answer replaces the earlier one.
_LAST_RATINGS = """
    SELECT version, rating > 0, COUNT(*)
    FROM (
        SELECT f.version, f.rating, f.created,
            ROW_NUMBER() OVER (
                PARTITION BY f.completion, f.choice, f.message, f.owner, f.user ORDER BY f.number DESC
            ) AS age
        FROM feedback AS f
        LEFT JOIN completions ON completions.number = f.completion
        LEFT JOIN messages ON messages.number = f.message
        WHERE f.rating IS NOT NULL AND COALESCE(completions.model, json_extract(messages.meta, '$.model')) = ?
    )
    WHERE age = 1 AND created > ?
    GROUP BY version, rating > 0
"""


class SqliteFeedbackStore:
    """The `FeedbackStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, write_transaction: Transaction, principal: Principal) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction
        self._principal = principal

    def add(self, answer: AnswerReference, content: NewFeedback, *, consent: Consent = "full") -> Feedback:
        """Add feedback."""
        content.check()
        created = time.time() if content.created is None else content.created
        id, content = f"fb_{secrets.token_hex(12)}", replace(content, created=created)
        with self._write_transaction() as connection:
            row = find_answer(connection, answer, self._principal, is_review=content.role == "reviewer")
            consent = _check_consent(row, content, consent)
            feedback = Feedback(
                id, answer, created, self._principal.owner, content, consent, row.version, row.weights_sha256
            )
            _insert(connection, feedback, row.number)
        return feedback

    def origin(self, answer: AnswerReference) -> AnswerOrigin:
        """Where an answer comes from."""
        with self._read_transaction() as connection:
            row = find_answer(connection, answer, self._principal)
            is_routed, conversation = load_conversation_key(connection, answer.kind, row.number)
            return AnswerOrigin(answer, row.version, conversation, is_routed)

    def of_answer(self, answer: AnswerReference) -> Sequence[Feedback]:
        """All feedback on an answer, oldest first."""
        with self._read_transaction() as connection:
            number = find_answer(connection, answer, self._principal).number
            column = "message" if answer.kind == "message" else "completion"
            condition = f"f.{column} = ? AND f.choice = ? ORDER BY f.number"
            return load_feedback(connection, condition, (number, answer.index))

    def of_completion(self, id: str) -> Sequence[Feedback]:
        """All feedback on the choices of a completion, oldest first."""
        with self._read_transaction() as connection:
            number = find_answer(connection, AnswerReference("completion", id), self._principal).number
            return load_feedback(connection, "f.completion = ? ORDER BY f.number", (number,))

    def of_conversation(self, id: str) -> Sequence[Feedback]:
        """All feedback on the messages of a conversation, oldest first."""
        with self._read_transaction() as connection:
            number = conversation_number(connection, id, self._principal)
            condition = "f.message IN (SELECT number FROM messages WHERE conversation = ?) ORDER BY f.number"
            return load_feedback(connection, condition, (number,))

    def list(self, *, limit: int = 100, after: str | None = None) -> tuple[Sequence[Feedback], bool]:
        """A page of own feedback, oldest first, and whether there is more."""
        condition, values = own_feedback(self._principal)
        with self._read_transaction() as connection:
            start = 0 if after is None else self._number(connection, after)
            condition = f"{condition} AND f.number > ? ORDER BY f.number LIMIT ?"
            page = load_feedback(connection, condition, (*values, start, limit + 1))
        return page[:limit], len(page) > limit

    def delete(self, id: str) -> None:
        """Delete own feedback."""
        with self._write_transaction() as connection:
            connection.execute("DELETE FROM feedback WHERE number = ?", (self._number(connection, id),))

    def count_ratings(self, model: str, *, since: float = 0.0) -> Mapping[str, RatingCounts]:
        """Answers of a model by version and last rating of each person."""
        counts: dict[str, dict[bool, int]] = {}
        with self._read_transaction() as connection:
            for version, is_good, count in connection.execute(_LAST_RATINGS, (model, since)):
                counts.setdefault(version, {})[bool(is_good)] = count
        return {version: RatingCounts(count.get(True, 0), count.get(False, 0)) for version, count in counts.items()}

    def _number(self, connection: sqlite3.Connection, id: str) -> int:
        condition, values = own_feedback(self._principal)
        query = f"SELECT f.number FROM feedback AS f WHERE f.id = ? AND {condition}"  # noqa: S608
        row = connection.execute(query, (id, *values)).fetchone()
        if row is None:
            raise NotFound(f"There is no feedback '{id[:60]}' of yours; it may have been deleted.")
        return int(row[0])


def own_feedback(principal: Principal) -> tuple[str, tuple[str | None, ...]]:
    """Condition on feedback `f` that a principal gave; all of it for an admin."""
    condition, values = own_records(principal)
    return condition.replace("owner", "f.owner"), values


def load_feedback(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[Feedback]:
    """The feedback `f` that a condition selects; it may end with an order and a limit."""
    return [_feedback(row) for row in connection.execute(f"{FEEDBACK_QUERY} WHERE {condition}", tuple(values))]


def _feedback(row: tuple[Any, ...]) -> Feedback:
    id, completion, choice, message, created, owner, consent, version, weights, *content = row
    rating, correction, comment, tags, user, role = content
    answer = (
        AnswerReference("completion", completion, choice) if message is None else AnswerReference("message", message)
    )
    return Feedback(
        id, answer, created, owner, NewFeedback(rating, correction, comment, tags_from_json(tags), user, role, created),
        consent, version, weights,
    )  # fmt: skip


def _check_consent(row: AnswerRow, content: NewFeedback, consent: Consent) -> Consent:
    """The consent that holds for feedback. Raises `Forbidden` if it does not allow it."""
    # An answer that is older than consents takes ratings, and no text.
    consent = stricter_consent(consent, row.consent or "metadata")
    if consent == "off":
        raise Forbidden("Feedback on this answer is switched off: the consent of the API key or the request is 'off'.")
    if consent == "metadata" and content.has_text:
        raise Forbidden(
            "This answer takes ratings and common tags only, no text: the consent of the API key or the request is "
            "'metadata'. Corrections and comments need the consent 'full'."
        )
    return consent


def _insert(connection: sqlite3.Connection, feedback: Feedback, number: int) -> None:
    answer, content = feedback.answer, feedback.content
    is_message = answer.kind == "message"
    values = (
        feedback.id, None if is_message else number, answer.index, number if is_message else None, feedback.created,
        feedback.owner, content.user, content.role, feedback.consent, content.rating, content.correction,
        content.comment, json.dumps(content.tags, ensure_ascii=False), feedback.version, feedback.weights_sha256,
    )  # fmt: skip
    connection.execute(
        "INSERT INTO feedback (id, completion, choice, message, created, owner, user, role, consent, rating,"  # noqa: S608
        f" correction, comment, tags, version, weights) VALUES ({', '.join('?' * len(values))})",
        values,
    )


_: type[FeedbackStore] = SqliteFeedbackStore  # the type checker compares it with the port
