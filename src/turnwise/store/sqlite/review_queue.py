"""The review queue in SQLite."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import combinations

from turnwise.core.access import Principal
from turnwise.core.collected_answers import CollectedAnswer, contributor_id
from turnwise.core.review import (
    MAX_UNCERTAIN_LOGPROB,
    REVIEWS_PER_ANSWER,
    ReviewAgreement,
    ReviewItem,
    ReviewQueue,
    ReviewReason,
    measure_agreement,
)
from turnwise.store.sqlite.collected_answer_reader import load_completion_answer, load_message_answer
from turnwise.store.sqlite.ownership import own_records

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

# The last rating of each person on each answer.
_LAST = """
    SELECT completion, choice, message, owner, user, role, rating, number
    FROM (
        SELECT *, ROW_NUMBER() OVER (
            PARTITION BY completion, choice, message, owner, user ORDER BY number DESC
        ) AS age
        FROM feedback WHERE rating IS NOT NULL AND consent = 'full'
    ) WHERE age = 1
"""
_RATED = f"""
    SELECT completion, choice, message, MIN(rating) < 0 AND MAX(rating) > 0 AS is_disputed
    FROM ({_LAST})
    GROUP BY completion, choice, message
    HAVING MIN(rating) < 0
    ORDER BY is_disputed DESC, MAX(number) DESC
"""  # noqa: S608
_TAGGED = """
    SELECT completion, choice, message FROM feedback, json_each(tags)
    WHERE consent = 'full' AND json_each.value = 'off_topic' GROUP BY completion, choice, message
    ORDER BY MAX(feedback.number) DESC
"""
# The conditions are those of the partial indexes `uncertain_answers` and `off_topic_answers`.
_UNCERTAIN = """
    SELECT NULL, 0, number FROM messages
    WHERE json_extract(meta, '$.mean_logprob') IS NOT NULL AND json_extract(meta, '$.consent') = 'full'
        AND json_extract(meta, '$.mean_logprob') <= ?
    ORDER BY json_extract(meta, '$.mean_logprob')
"""
_OFF_TOPIC = """
    SELECT NULL, 0, number FROM messages
    WHERE json_extract(meta, '$.service.decision') = 'refusal:off_topic' AND json_extract(meta, '$.consent') = 'full'
    ORDER BY number DESC
"""
_ALL_REVIEWS = f"SELECT completion, choice, message, owner, user, rating FROM ({_LAST}) WHERE role = 'reviewer'"  # noqa: S608

Key = tuple[int | None, int, int | None]  # completion, choice, message


class SqliteReviewQueue:
    """The `ReviewQueue` port on the transactions of a `SqliteDatabase`."""

    def __init__(self, read_transaction: Transaction, principal: Principal) -> None:
        self._read_transaction, self._principal = read_transaction, principal

    def next(self, reviewer: str | None, *, limit: int = 20) -> Sequence[ReviewItem]:
        """Answers that the reviewer has not rated, the most urgent first."""
        own_id = contributor_id(self._principal.owner, reviewer)
        items: dict[str, ReviewItem] = {}
        with self._read_transaction() as connection:
            reviews = self._reviews(connection)
            for key, reason in self._candidates(connection):
                verdicts = reviews.get(key, {})
                if own_id in verdicts or _is_decided(list(verdicts.values())):
                    continue
                answer = self._load(connection, key)
                if answer is not None and answer.id not in items:
                    items[answer.id] = ReviewItem(answer, reason, len(verdicts), _mean_logprob(connection, key))
                if len(items) >= limit:
                    break
        return list(items.values())

    def agreement(self) -> Sequence[ReviewAgreement]:
        """Agreement of each two reviewers."""
        pairs: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        with self._read_transaction() as connection:
            reviews = self._reviews(connection)
        for verdicts in reviews.values():
            for first, second in combinations(sorted(verdicts), 2):
                pairs[first, second].append((verdicts[first], verdicts[second]))
        return [measure_agreement(reviewers, ratings) for reviewers, ratings in sorted(pairs.items())]

    def _reviews(self, connection: sqlite3.Connection) -> dict[Key, dict[str, int]]:
        """The last rating of each reviewer on each answer."""
        reviews: dict[Key, dict[str, int]] = {}
        for completion, choice, message, owner, user, rating in connection.execute(_ALL_REVIEWS):
            reviews.setdefault((completion, choice, message), {})[contributor_id(owner, user)] = rating
        return reviews

    def _candidates(self, connection: sqlite3.Connection) -> Iterator[tuple[Key, ReviewReason]]:
        rated = connection.execute(_RATED).fetchall()
        for *key, is_disputed in rated:
            if is_disputed:
                yield _key(key), "disagreement"
        for *key, is_disputed in rated:
            if not is_disputed:
                yield _key(key), "disliked"
        for row in connection.execute(_UNCERTAIN, (MAX_UNCERTAIN_LOGPROB,)):
            yield _key(row), "uncertain"
        for query in (_OFF_TOPIC, _TAGGED):
            for row in connection.execute(query):
                yield _key(row), "off_topic"

    def _load(self, connection: sqlite3.Connection, key: Key) -> CollectedAnswer | None:
        """The answer; None if it cannot be read by the principal or has a stricter consent."""
        completion, choice, message = key
        if not self._principal.answers_handoffs and not self._is_own(connection, key):
            return None
        if message is not None:
            return load_message_answer(connection, message)
        assert completion is not None
        return load_completion_answer(connection, completion, choice)

    def _is_own(self, connection: sqlite3.Connection, key: Key) -> bool:
        completion, _, message = key
        condition, values = own_records(self._principal)
        if message is None:
            query = f"SELECT 1 FROM completions WHERE number = ? AND {condition}"  # noqa: S608
        else:
            query = (
                "SELECT 1 FROM messages JOIN conversations ON conversations.number = conversation"  # noqa: S608
                f" WHERE messages.number = ? AND {condition}"
            )
        number = completion if message is None else message
        return connection.execute(query, (number, *values)).fetchone() is not None


def _key(row: Sequence[int | None]) -> Key:
    completion, choice, message = row
    return completion, choice or 0, message


def _is_decided(verdicts: Sequence[int]) -> bool:
    """True if enough reviewers agree; while they are divided evenly, one more is needed."""
    return len(verdicts) >= REVIEWS_PER_ANSWER and sum(verdicts) != 0


def _mean_logprob(connection: sqlite3.Connection, key: Key) -> float | None:
    if key[2] is None:
        return None
    row = connection.execute(
        "SELECT json_extract(meta, '$.mean_logprob') FROM messages WHERE number = ?", (key[2],)
    ).fetchone()
    return None if row is None or row[0] is None else float(row[0])


_: type[ReviewQueue] = SqliteReviewQueue  # the type checker compares it with the port
