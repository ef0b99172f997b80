"""Queries for feedback use the indexes, so that a store with many messages is not scanned for each of them."""

import pytest

from turnwise.store import open_store
from turnwise.store.sqlite.collected_answer_rows import COMPLETION_CANDIDATES, MESSAGE_CANDIDATES
from turnwise.store.sqlite.feedback_store import FEEDBACK_QUERY
from turnwise.store.sqlite.review_queue import _OFF_TOPIC, _UNCERTAIN


@pytest.fixture(scope="module")
def plan():
    """`plan(query, *values)`: the steps of the query."""
    store = open_store("sqlite:///:memory:")

    def explain(query, *values):
        with store._database.read_transaction() as connection:
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]

    yield explain
    store.close()


def scans(steps, table):
    return [step for step in steps if step.startswith(f"SCAN {table}") and "INDEX" not in step]


def test_siblings_are_looked_up_by_their_parent(plan):
    steps = plan(MESSAGE_CANDIDATES.format(condition="1"), 0.0, None)
    assert any("messages USING COVERING INDEX messages_by_parent" in step for step in steps)
    for name in ("newer", "older", "next", "messages"):
        assert scans(steps, name) == []
    assert sum("SEARCH next USING COVERING INDEX messages_by_parent" in step for step in steps) >= 1


def test_completions_are_looked_up_by_their_feedback(plan):
    assert scans(plan(COMPLETION_CANDIDATES.format(condition="1"), None, 0.0), "completions") == []


@pytest.mark.parametrize("condition", ["f.message = 1", "f.completion = 1", "f.number > 1"])
def test_feedback_of_an_answer_is_looked_up(plan, condition):
    steps = plan(f"{FEEDBACK_QUERY} WHERE {condition}")
    assert any(step.startswith("SEARCH f USING") for step in steps)


def test_the_review_queue_reads_its_partial_indexes(plan):
    assert any("uncertain_answers" in step for step in plan(_UNCERTAIN, -1.0))
    assert any("off_topic_answers" in step for step in plan(_OFF_TOPIC))
