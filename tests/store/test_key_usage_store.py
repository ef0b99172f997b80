"""The usage of API keys in their SQLite file: exact counts of several processes, and what a killed process loses."""

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import date, timedelta

import pytest

from turnwise.core.key_usage import USAGE_DAYS, UsageCounts, UsageDay, utc_day
from turnwise.store import open_key_usage
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.store.sqlite.key_usage_store import SqliteKeyUsageStore

TODAY = date(2026, 11, 30)
ADD_PROGRAM = """
import sys
from pathlib import Path
from turnwise.core.key_usage import UsageCounts, UsageDay, date
from turnwise.store.sqlite.key_usage_store import SqliteKeyUsageStore
usage = SqliteKeyUsageStore(Path(sys.argv[1]), lambda: date(2026, 11, 30))
for number in range(int(sys.argv[2])):
    usage.add({UsageDay(date(2026, 11, 30), "shop"): UsageCounts(1, 10, 5, number % 2)})
    print(number + 1, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.db"


@pytest.fixture
def usage(path):
    return SqliteKeyUsageStore(path, lambda: TODAY)


def start_adding(path, count):
    return subprocess.Popen([sys.executable, "-c", ADD_PROGRAM, path, str(count)], stdout=subprocess.PIPE, text=True)


def test_reading_creates_no_file(usage, path):
    assert usage.since(TODAY) == []
    assert not path.exists()


def test_counts_of_a_day_and_key_are_added_up(usage):
    yesterday = TODAY - timedelta(days=1)
    usage.add({UsageDay(TODAY, "shop"): UsageCounts(1, 10, 5), UsageDay(TODAY, "app"): UsageCounts(1, 1, 1)})
    usage.add({UsageDay(TODAY, "shop"): UsageCounts(2, 20, 7, 1), UsageDay(yesterday, "shop"): UsageCounts(9)})
    assert usage.since(yesterday) == [
        (UsageDay(yesterday, "shop"), UsageCounts(9)),
        (UsageDay(TODAY, "app"), UsageCounts(1, 1, 1)),
        (UsageDay(TODAY, "shop"), UsageCounts(3, 30, 12, 1)),
    ]
    assert [day for day, _ in usage.since(TODAY)] == [UsageDay(TODAY, "app"), UsageDay(TODAY, "shop")]


def test_old_days_are_deleted(usage):
    kept, old = TODAY - timedelta(days=USAGE_DAYS - 1), TODAY - timedelta(days=USAGE_DAYS)
    usage.add({UsageDay(kept, "shop"): UsageCounts(1), UsageDay(old, "shop"): UsageCounts(1)})
    assert [day for day, _ in usage.since(old)] == [UsageDay(kept, "shop")]


def test_days_are_those_of_utc():
    assert utc_day(1_796_083_199) == date(2026, 11, 30)
    assert utc_day(1_796_083_200) == date(2026, 12, 1)


def test_the_counts_outlast_their_key_and_keys_are_unchanged(usage, path):
    keys = SqliteKeyStore(path)
    keys.create("shop")
    usage.add({UsageDay(TODAY, "shop"): UsageCounts(1)})
    assert [key.name for key in keys.list()] == ["shop"]
    keys.revoke("shop")
    assert usage.since(TODAY) == [(UsageDay(TODAY, "shop"), UsageCounts(1))]


def test_a_file_that_is_older_than_usage_has_none_until_the_first_count(usage, path):
    keys = SqliteKeyStore(path)
    keys.create("shop")
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE key_usage; PRAGMA user_version = 3")
    connection.close()
    assert usage.since(TODAY) == []
    usage.add({UsageDay(TODAY, "shop"): UsageCounts(1)})
    assert usage.since(TODAY) == [(UsageDay(TODAY, "shop"), UsageCounts(1))]
    assert [key.name for key in keys.list()] == ["shop"]


def test_a_backend_without_usage_has_none(path, monkeypatch):
    monkeypatch.delattr("turnwise.store.sqlite.open_key_usage")
    assert open_key_usage(f"sqlite:///{path}") is None


@pytest.mark.slow
def test_counts_of_two_processes_are_exact(usage, path):
    programs = [start_adding(path, 150) for _ in range(2)]
    for program in programs:
        program.communicate(timeout=120)
        assert program.returncode == 0
    assert usage.since(TODAY) == [(UsageDay(TODAY, "shop"), UsageCounts(300, 3000, 1500, 150))]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_loses_no_count_that_was_written(usage, path):
    killed, other = start_adding(path, 100_000), start_adding(path, 150)
    for _ in range(60):
        num_written = int(killed.stdout.readline())
    os.kill(killed.pid, signal.SIGKILL)
    num_written = max([num_written, *map(int, killed.communicate()[0].split())])
    other.communicate(timeout=120)
    [(_, counts)] = usage.since(TODAY)
    assert counts.requests - 150 in (num_written, num_written + 1), "the last one was perhaps written, not printed"
    assert (counts.prompt_tokens, counts.completion_tokens) == (10 * counts.requests, 5 * counts.requests)
