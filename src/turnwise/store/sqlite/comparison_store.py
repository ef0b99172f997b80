"""Comparisons of two answers in SQLite, in the database of the conversations."""

import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.access import Principal
from turnwise.core.collected_answers import Consent, stricter_consent
from turnwise.core.comparisons import Comparison, ComparisonStore, Competitor, NewComparison, PairScore
from turnwise.core.errors import Forbidden, NotFound
from turnwise.core.feedback import AnswerReference
from turnwise.store.sqlite.answer_rows import AnswerRow, find_answer
from turnwise.store.sqlite.ownership import own_records

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_SIDE = (
    "{0}_completions.id, c.{0}_choice, {0}_messages.id, c.{0}_model, c.{0}_version, c.{0}_label",
    "LEFT JOIN completions AS {0}_completions ON {0}_completions.number = c.{0}_completion"
    " LEFT JOIN messages AS {0}_messages ON {0}_messages.number = c.{0}_message",
)
COMPARISON_QUERY = (
    f"SELECT c.id, c.created, c.owner, c.user, c.consent, c.verdict, {_SIDE[0].format('left')},"  # noqa: S608
    f" {_SIDE[0].format('right')} FROM comparisons AS c {_SIDE[1].format('left')} {_SIDE[1].format('right')}"
)
_COUNTS = """
    SELECT left_model, left_version, left_label, right_model, right_version, right_label, verdict, COUNT(*)
    FROM comparisons WHERE {condition} GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_OUTCOMES = ("wins", "losses", "equal", "both_bad")
_PARENTS = "SELECT COUNT(*) = 2 AND COUNT(DISTINCT parent) = 1 FROM messages WHERE number IN (?, ?)"
_PROMPTS = "SELECT COUNT(DISTINCT messages) = 1 FROM completions WHERE number IN (?, ?)"


class SqliteComparisonStore:
    """The `ComparisonStore` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, write_transaction: Transaction, principal: Principal) -> None:
        self._read_transaction, self._write_transaction = read_transaction, write_transaction
        self._principal = principal

    def add(self, content: NewComparison, *, consent: Consent = "full") -> Comparison:
        """Add a comparison, and delete an earlier one of the same answers by the same person."""
        content.check()
        id, created, owner = f"cmp_{secrets.token_hex(12)}", time.time(), self._principal.owner
        with self._write_transaction() as connection:
            rows = [find_answer(connection, answer, self._principal) for answer in (content.left, content.right)]
            consent = _check_consent(content, consent, rows)
            models = [
                _model(connection, answer, row.number)
                for answer, row in zip((content.left, content.right), rows, strict=True)
            ]
            same_prompt = _have_same_prompt(connection, content, rows)
            sides = [
                _side_values(answer, row, model, label)
                for answer, row, model, label in zip(
                    (content.left, content.right), rows, models, (content.left_label, content.right_label), strict=True
                )
            ]
            values = (id, created, owner, content.user, consent, content.verdict, same_prompt, *sides[0], *sides[1])
            columns = ", ".join(
                f"{side}_{name}"
                for side in ("left", "right")
                for name in ("completion", "choice", "message", "model", "version", "weights", "label")
            )
            _delete_earlier(connection, owner, content, [row.number for row in rows])
            connection.execute(
                f"INSERT INTO comparisons (id, created, owner, user, consent, verdict, same_prompt, {columns})"  # noqa: S608
                f" VALUES ({', '.join('?' * len(values))})",
                values,
            )
        left, right = (
            Competitor(model, row.version, label)
            for model, row, label in zip(models, rows, (content.left_label, content.right_label), strict=True)
        )
        return Comparison(id, created, owner, content, consent, left, right)

    def list(self, *, limit: int = 100, after: str | None = None) -> tuple[Sequence[Comparison], bool]:
        """A page of own comparisons, oldest first, and whether there is more."""
        condition, values = own_records(self._principal)
        condition = condition.replace("owner", "c.owner")
        with self._read_transaction() as connection:
            start = 0 if after is None else self._number(connection, after)
            page = load_comparisons(
                connection, f"{condition} AND c.number > ? ORDER BY c.number LIMIT ?", (*values, start, limit + 1)
            )
        return page[:limit], len(page) > limit

    def scores(self) -> Sequence[PairScore]:
        """Scores of all pairs in own comparisons."""
        condition, values = own_records(self._principal)
        counts: dict[tuple[Competitor, Competitor], dict[str, int]] = {}
        with self._read_transaction() as connection:
            for *names, verdict, count in connection.execute(_COUNTS.format(condition=condition), values):
                left, right = Competitor(*names[:3]), Competitor(*names[3:])
                if left == right:  # two answers of one model tell nothing about models
                    continue
                is_ordered = left <= right
                outcome = {"left": "wins", "right": "losses"}.get(verdict, verdict)
                if not is_ordered:
                    outcome = {"wins": "losses", "losses": "wins"}.get(outcome, outcome)
                outcomes = counts.setdefault((left, right) if is_ordered else (right, left), {})
                outcomes[outcome] = outcomes.get(outcome, 0) + count
        return [
            _winner_first(PairScore(first, second, *(outcomes.get(name, 0) for name in _OUTCOMES)))
            for (first, second), outcomes in sorted(counts.items())
        ]

    def delete(self, id: str) -> None:
        """Delete an own comparison."""
        with self._write_transaction() as connection:
            connection.execute("DELETE FROM comparisons WHERE number = ?", (self._number(connection, id),))

    def _number(self, connection: sqlite3.Connection, id: str) -> int:
        condition, values = own_records(self._principal)
        query = f"SELECT number FROM comparisons WHERE id = ? AND {condition}"  # noqa: S608
        row = connection.execute(query, (id, *values)).fetchone()
        if row is None:
            raise NotFound(f"There is no comparison '{id[:60]}' of yours; it may have been deleted.")
        return int(row[0])


def load_comparisons(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[Comparison]:
    """The comparisons `c` that a condition selects; it may end with an order and a limit."""
    return [_comparison(row) for row in connection.execute(f"{COMPARISON_QUERY} WHERE {condition}", tuple(values))]


def _comparison(row: tuple[Any, ...]) -> Comparison:
    id, created, owner, user, consent, verdict, *sides = row
    (left, left_competitor), (right, right_competitor) = _side(*sides[:6]), _side(*sides[6:])
    content = NewComparison(left, right, verdict, left_competitor.label, right_competitor.label, user)
    return Comparison(id, created, owner, content, consent, left_competitor, right_competitor)


def _side(
    completion: str | None, choice: int, message: str | None, model: str, version: str, label: str
) -> tuple[AnswerReference, Competitor]:
    if message is not None:
        return AnswerReference("message", message), Competitor(model, version, label)
    assert completion is not None
    return AnswerReference("completion", completion, choice), Competitor(model, version, label)


def _side_values(answer: AnswerReference, row: AnswerRow, model: str, label: str) -> tuple[Any, ...]:
    is_message = answer.kind == "message"
    completion, message = (None, row.number) if is_message else (row.number, None)
    return completion, answer.index, message, model, row.version, row.weights_sha256, label


def _check_consent(content: NewComparison, consent: Consent, rows: Sequence[AnswerRow]) -> Consent:
    """The consent that holds. Raises `Forbidden` if it does not allow the comparison."""
    for row in rows:
        consent = stricter_consent(consent, row.consent or "metadata")  # answers that are older than consents have none
    if consent == "off":
        raise Forbidden(
            "Comparisons of these answers are switched off: the consent of the API key or the request is 'off'."
        )
    if consent == "metadata" and (content.left_label or content.right_label):
        raise Forbidden("These answers take comparisons without a label: the consent is 'metadata'.")
    return consent


def _model(connection: sqlite3.Connection, answer: AnswerReference, number: int) -> str:
    if answer.kind == "message":
        query = "SELECT COALESCE(json_extract(meta, '$.model'), '') FROM messages WHERE number = ?"
    else:
        query = "SELECT model FROM completions WHERE number = ?"
    return str(connection.execute(query, (number,)).fetchone()[0])


def _have_same_prompt(connection: sqlite3.Connection, content: NewComparison, rows: Sequence[AnswerRow]) -> bool:
    if content.left.kind != content.right.kind:
        return False
    if content.left.kind == "completion" and rows[0].number == rows[1].number:
        return True  # two choices of a completion
    query = _PARENTS if content.left.kind == "message" else _PROMPTS
    return bool(connection.execute(query, [row.number for row in rows]).fetchone()[0])


def _delete_earlier(
    connection: sqlite3.Connection, owner: str | None, content: NewComparison, numbers: Sequence[int]
) -> None:
    """Delete comparisons of the same person and answers, in either order."""
    answers = list(zip((content.left, content.right), numbers, strict=True))
    for order in (answers, answers[::-1]):
        conditions: list[str] = ["owner IS ?", "user IS ?"]
        values: list[Any] = [owner, content.user]
        for side, (answer, number) in zip(("left", "right"), order, strict=True):
            conditions.append(f"{side}_{answer.kind} = ? AND {side}_choice = ?")
            values += [number, answer.index]
        connection.execute(f"DELETE FROM comparisons WHERE {' AND '.join(conditions)}", values)  # noqa: S608


def _winner_first(score: PairScore) -> PairScore:
    if score.losses <= score.wins:
        return score
    return PairScore(score.second, score.first, score.losses, score.wins, score.equal, score.both_bad)


_: type[ComparisonStore] = SqliteComparisonStore  # the type checker compares it with the port
