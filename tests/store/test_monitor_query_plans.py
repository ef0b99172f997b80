"""No query of the monitor's store reads a whole table that grows with the stream."""

import inspect

import pytest

from turnwise.core.monitor_batch import MonitorBatch, RetentionLimits
from turnwise.core.monitor_store import MonitorStore
from turnwise.store import open_monitor_store

# Methods with arguments for all their conditions.
CALLS = {
    "topics": [()], "newest_window": [()], "alerts": [(9,)], "alert": [("a",)], "alert_texts": [("a",)],
    "count_sums": [("Acme", 0, 900, 300), (None, 0, 900, 300)],
    "expected_sums": [("Acme", 0, 900, 300), (None, 0, 900, 300)],
    "counts": [("Acme", 0, 900), (None, 0, 900)],
    "commit": [
        (MonitorBatch(closed={"a": 1}, repeated_ids=["x"], retention=RetentionLimits(10.0, 10.0, 10.0, 5)),),
    ],
    "positions": [()], "states": [()], "figures": [()], "stored_ids": [(["x", "y"],)],
    "open_alerts": [()], "first_text_number": [(5.0,)], "texts_from": [(3,)],
    "topic_texts": [("Acme", 0.0, 9.0, 5)], "due_deliveries": [(5.0, 9)], "deliveries": [("dead",)],
    "resend": [(None, 5.0), ("a", 5.0)],
}  # fmt: skip
WITHOUT_QUERIES = {"claim", "close", "update_delivery"}  # the last one has a key only
ALLOWED_SCANS = {
    "monitor_positions", "monitor_states", "monitor_figures",  # read at the start, of bounded size
    "topics", "topic", "json_each",  # steps of a query, and lists in JSON
    "monitor_alerts USING INDEX monitor_alerts_by_time",  # in the order of the list, up to its limit
    "monitor_alerts USING INDEX monitor_open_alerts",  # has the open alerts only
}  # fmt: skip


@pytest.fixture(scope="module")
def store():
    opened = open_monitor_store("sqlite:///:memory:")
    yield opened
    opened.close()


def statements_of(store, method, arguments):
    statements = []
    connection = store._database._connection
    connection.set_trace_callback(statements.append)
    getattr(store, method)(*arguments)
    connection.set_trace_callback(None)
    return [
        statement
        for statement in statements
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")) and "?" not in statement
    ]


def test_all_methods_are_called():
    methods = {name for name, _ in inspect.getmembers(MonitorStore, inspect.isfunction) if not name.startswith("_")}
    assert methods == CALLS.keys() | WITHOUT_QUERIES


@pytest.mark.parametrize("method", CALLS)
def test_queries_search_an_index(store, method):
    statements = [statement for arguments in CALLS[method] for statement in statements_of(store, method, arguments)]
    assert statements
    with store._database.read_transaction() as connection:
        for statement in statements:
            plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            scans = {step.removeprefix("SCAN ").partition(" VIRTUAL TABLE")[0] for step in plan if "SCAN " in step}
            assert scans - {"CONSTANT ROW"} <= ALLOWED_SCANS, (statement, plan)


@pytest.mark.parametrize("method", ["alerts", "open_alerts"])
def test_lists_of_alerts_are_not_sorted(store, method):
    statements = statements_of(store, method, CALLS[method][0])
    assert statements
    with store._database.read_transaction() as connection:
        for statement in statements:
            plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert not any("TEMP B-TREE" in step for step in plan), plan
