"""Answers that people rated, corrected or replaced, read from SQLite."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from turnwise.core.access import Principal
from turnwise.core.collected_answers import (
    CollectedAnswer,
    CollectedAnswerReader,
    PreferredAnswer,
    Rating,
    contributor_id,
)
from turnwise.core.conversation_keys import opening_key, stored_conversation_key
from turnwise.core.feedback import Feedback
from turnwise.store.sqlite.answer_rows import USER_META, request_message
from turnwise.store.sqlite.collected_answer_rows import (
    COMPLETION_CANDIDATES,
    MESSAGE_CANDIDATES,
    history_of,
    is_collectable,
    load_branch,
    load_preferred,
)
from turnwise.store.sqlite.compared_answers import with_comparisons
from turnwise.store.sqlite.feedback_store import load_feedback
from turnwise.store.sqlite.ownership import own_records

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

CHUNK_ANSWERS = 100  # that are loaded together: other users of the connection wait for a few milliseconds
_PEOPLE = """
    SELECT owner, NULL FROM conversations UNION
    SELECT owner, json_extract(meta, '$.user') FROM messages JOIN conversations ON conversations.number = conversation
        WHERE json_extract(meta, '$.user') IS NOT NULL UNION
    SELECT owner, user FROM completions UNION SELECT owner, user FROM responses UNION
    SELECT owner, user FROM feedback UNION SELECT owner, user FROM comparisons
"""


class SqliteCollectedAnswerReader:
    """The `CollectedAnswerReader` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, principal: Principal) -> None:
        self._read_transaction, self._principal = read_transaction, principal

    def answers(self, model: str | None = None, *, since: float = 0.0) -> Iterator[CollectedAnswer]:
        """Answers with a rating or a better answer, oldest first."""
        candidates = self._candidates(model, since)
        for start in range(0, len(candidates), CHUNK_ANSWERS):
            with self._read_transaction() as connection:
                chunk = [_load(connection, *key) for key in candidates[start : start + CHUNK_ANSWERS]]
            yield from (answer for answer in chunk if answer is not None and (answer.ratings or answer.preferred))

    def count(self, model: str | None = None, *, since: float = 0.0) -> int:
        """Number of such answers."""
        return sum(1 for _ in self.answers(model, since=since))

    def contributors(self) -> Sequence[str]:
        """Ids of all people of whom something is stored."""
        with self._read_transaction() as connection:
            people = connection.execute(_PEOPLE).fetchall()
        if not self._principal.is_admin:
            people = [(owner, user) for owner, user in people if owner is not None and owner == self._principal.owner]
        return sorted({contributor_id(owner, user) for owner, user in people})

    def _candidates(self, model: str | None, since: float) -> list[tuple[int, int | None]]:
        """Numbers of the answers, and the index of the choice for completions, oldest first."""
        condition, owner = own_records(self._principal)
        with self._read_transaction() as connection:
            messages = connection.execute(MESSAGE_CANDIDATES.format(condition=condition), (since, model, *owner))
            rows: list[tuple[float, int, int | None]] = [(created, number, None) for created, number in messages]
            condition = condition.replace("owner", "completions.owner")
            rows += connection.execute(COMPLETION_CANDIDATES.format(condition=condition), (model, *owner, since))
        return [(number, choice) for _, number, choice in sorted(rows, key=lambda entry: entry[:2])]


def load_message_answer(connection: sqlite3.Connection, number: int) -> CollectedAnswer | None:
    """A message with its feedback; None if it was deleted, or a consent is stricter than "full"."""
    branch = load_branch(connection, number)
    if not branch or not is_collectable(branch):
        return None
    owner, conversation = connection.execute(
        "SELECT owner, conversations.id FROM conversations JOIN messages ON conversation = conversations.number"
        " WHERE messages.number = ?",
        (number,),
    ).fetchone()
    answer = branch[-1]
    collected = CollectedAnswer(
        id=f"message:{answer.id}", created=answer.created,
        contributor=contributor_id(owner, answer.meta.get(USER_META)),
        model=str(answer.meta.get("model") or ""), weights_sha256=str(answer.meta.get("weights") or ""),
        history=history_of(branch), answer=answer.message,
        preferred=tuple(load_preferred(connection, number, branch, owner)),
        authors=frozenset(contributor_id(owner, entry.meta[USER_META]) for entry in branch if USER_META in entry.meta),
        conversation=stored_conversation_key(conversation),
    )  # fmt: skip
    collected = with_comparisons(connection, collected, "message = ?", (number,))
    return _with_feedback(collected, load_feedback(connection, "f.message = ? ORDER BY f.number", (number,)))


def load_completion_answer(connection: sqlite3.Connection, number: int, choice: int) -> CollectedAnswer | None:
    """A choice of a completion with its feedback; None as for a message."""
    row = connection.execute(
        "SELECT id, created, owner, user, model, weights, messages, response, consent FROM completions"
        " WHERE number = ?",
        (number,),
    ).fetchone()
    if row is None or row[-1] != "full":
        return None
    id, created, owner, user, model, weights, messages, response, _ = row
    choices = json.loads(response)["choices"]
    if choice >= len(choices):
        return None
    history = tuple(map(request_message, json.loads(messages)))
    collected = CollectedAnswer(
        id=f"completion:{id}:{choice}", created=created, contributor=contributor_id(owner, user), model=model,
        weights_sha256=weights, history=history,
        answer=request_message({"role": "assistant", **choices[choice]["message"]}),
        conversation=opening_key(owner, user, history),
    )  # fmt: skip
    collected = with_comparisons(connection, collected, "completion = ? AND choice = ?", (number, choice))
    condition = "f.completion = ? AND f.choice = ? ORDER BY f.number"
    return _with_feedback(collected, load_feedback(connection, condition, (number, choice)))


def _load(connection: sqlite3.Connection, number: int, choice: int | None) -> CollectedAnswer | None:
    if choice is None:
        return load_message_answer(connection, number)
    return load_completion_answer(connection, number, choice)


def _with_feedback(collected: CollectedAnswer, feedback: Sequence[Feedback]) -> CollectedAnswer:
    """The answer with the ratings and corrections that have the consent "full"."""
    feedback = [entry for entry in feedback if entry.consent == "full"]
    ratings = [
        Rating(entry.contributor, entry.content.rating, entry.created, entry.content.tags)
        for entry in feedback
        if entry.content.rating is not None
    ]
    ratings = sorted([*collected.ratings, *ratings], key=lambda entry: entry.created)
    corrections = [
        PreferredAnswer(
            entry.contributor, replace(collected.answer, content=entry.content.correction, tool_calls=()),
            entry.created, "correction",
        )
        for entry in feedback
        if entry.content.correction
    ]  # fmt: skip
    preferred = sorted([*collected.preferred, *corrections], key=lambda entry: entry.created)
    return replace(collected, ratings=tuple(ratings), preferred=tuple(preferred))


_: type[CollectedAnswerReader] = SqliteCollectedAnswerReader  # the type checker compares it with the port
