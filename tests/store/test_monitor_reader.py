"""Reading a store beside its writer: committed batches only, sums of counts, a sentence for every failure."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor_stand_ins import START, open_test_pipeline, text
from turnwise.core.errors import InvalidParameter, NotFound, SaveFailed, Unavailable, UserError
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.monitor_records import TopicCount
from turnwise.store import open_monitor_reader, open_monitor_store
from turnwise.store.sqlite import migrations, monitor_reader

SURGE = [text(second, f"acme news {second}") for second in range(0, 60, 10)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "monitor #1?.db"  # characters that mean something in a URL


@pytest.fixture
def store(path):
    opened = open_monitor_store(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture
def reader(store, path):
    return open_monitor_reader(f"sqlite:///{path}")


def everything(store):
    alerts = store.alerts(9)
    return (
        store.topics(), store.newest_window(), store.count_sums(None, 0, 2**40, 60), alerts,
        [store.alert(alert.id) for alert in alerts], [store.alert_texts(alert.id) for alert in alerts],
    )  # fmt: skip


def test_the_reader_sees_what_the_store_has_after_every_batch(store, reader):
    assert everything(reader) == ([], None, [], [], [], [])
    pipeline = open_test_pipeline(store)
    for batch in (SURGE, [text(70, "GBX")], [text(200, "acme again")]):
        pipeline.process(batch)
        assert everything(reader) == everything(store)
    assert len(reader.alert_texts(reader.alerts(1)[0].id)) == len(SURGE)


def test_a_batch_that_is_being_written_is_not_seen_and_reading_does_not_wait_for_it(store, reader):
    store.commit(MonitorBatch(counts=[TopicCount("Acme", START, 1, 1, 0)]))
    with store._database.write_transaction() as connection:
        connection.execute("INSERT INTO monitor_counts VALUES ('Globex', 60, 1, 1, 0)")
        assert reader.topics() == ["Acme"]
    assert reader.topics() == ["Acme", "Globex"]


def test_a_reader_in_the_middle_of_a_query_does_not_stop_the_writer(store, reader):
    store.commit(MonitorBatch(counts=[TopicCount("Acme", START, 1, 1, 0)]))
    with reader._connect() as connection:
        assert connection.execute("SELECT texts FROM monitor_counts").fetchall() == [(1,)]
        store.commit(MonitorBatch(counts=[TopicCount("Acme", START, 2, 2, 0)]))
        assert connection.execute("SELECT texts FROM monitor_counts").fetchall() == [(1,)], "one state per query"
    assert reader.count_sums("Acme", 0, 2**40, 60)[0].texts == 2


def test_batches_of_a_monitor_that_was_killed_are_read_from_its_log(tmp_path):
    program = (
        "import os, signal, sys; from turnwise.store import open_monitor_store;"
        "from turnwise.core.monitor_batch import MonitorBatch; from turnwise.core.monitor_records import TopicCount;"
        "store = open_monitor_store(sys.argv[1]);"
        "store.commit(MonitorBatch(counts=[TopicCount('Acme', 60, 1, 1, 0)])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    url = f"sqlite:///{tmp_path / 'monitor.db'}"
    assert subprocess.run([sys.executable, "-c", program, url], check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "monitor.db-wal").stat().st_size > 0
    (tmp_path / "monitor.db-shm").unlink()  # as after a restart of the machine
    assert open_monitor_reader(url).topics() == ["Acme"]


def test_a_reader_cannot_write(reader):
    with pytest.raises(SaveFailed, match="readonly"), reader._connect() as connection:
        connection.execute("DELETE FROM monitor_counts")


def test_a_monitor_can_start_and_claim_the_store_beside_a_reader(store, reader):
    store.claim()
    assert reader.topics() == []


COUNTS = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b", "ü", "b0", ""]), st.integers(-50, 50).map(lambda number: 60 * number)),
    st.tuples(*[st.integers(0, 9)] * 3),
    max_size=30,
)


@settings(deadline=None, max_examples=60)
@given(counts=COUNTS, seconds=st.integers(1, 1000), start=st.integers(-3000, 3000), length=st.integers(0, 4000))
def test_counts_are_added_up_over_multiples_of_an_interval(counts, seconds, start, length):
    with closing(open_monitor_store("sqlite:///:memory:")) as store:
        rows = [TopicCount(topic, window, *values) for (topic, window), values in counts.items()]
        store.commit(MonitorBatch(counts=rows))
        expected = {}
        for row in rows:
            if start <= row.start < start + length:
                sums = expected.setdefault((row.start // seconds * seconds, row.topic), [0, 0, 0])
                for index, value in enumerate((row.texts, row.count, row.negative)):
                    sums[index] += value
        sums = store.count_sums(None, start, start + length, seconds)
        assert sums == [TopicCount(topic, interval, *expected[interval, topic]) for interval, topic in sorted(expected)]
        assert store.count_sums("b", start, start + length, seconds) == [row for row in sums if row.topic == "b"]
        assert store.topics() == sorted({row.topic for row in rows})
        assert store.newest_window() == max((row.start for row in rows), default=None)


def test_a_store_that_another_connection_has_for_itself_is_busy(store, reader, path):
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="busy: another process is changing it"):
            reader.topics()
    assert reader.topics() == []


def test_a_store_that_another_version_migrates_is_not_read_any_more(store, reader, path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(migrations.STEPS) + 1}")
    with pytest.raises(Unavailable, match="changed by another version of Turnwise"):
        reader.alerts(1)
    with pytest.raises(UserError, match="written by a newer Turnwise"):
        open_monitor_reader(f"sqlite:///{path}")


def test_a_file_that_is_removed_is_missing_and_a_new_one_is_read(store, reader, path):
    store.close()
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(Unavailable, match="is missing"):
        reader.topics()
    again = open_monitor_store(f"sqlite:///{path}")
    again.commit(MonitorBatch(counts=[TopicCount("Acme", START, 1, 1, 0)]))
    assert reader.topics() == ["Acme"]
    again.close()


def test_a_file_that_is_damaged_cannot_be_read(store, reader, path):
    store.close()
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(SaveFailed, match="The monitor store could not be read: file is not a database"):
        reader.topics()


def test_a_query_that_takes_too_long_is_interrupted(store, reader, monkeypatch):
    store.commit(MonitorBatch(counts=[TopicCount("Acme", 60 * number, 1, 1, 0) for number in range(100)]))
    monkeypatch.setattr(monitor_reader, "_STEPS_PER_CHECK", 50)
    monkeypatch.setattr(monitor_reader, "QUERY_SECONDS", -1)
    with pytest.raises(Unavailable, match="Request fewer hours"):
        reader.count_sums(None, 0, 2**40, 60)


def test_only_a_store_of_this_version_is_opened(tmp_path, monkeypatch):
    def open_reader(name):
        return open_monitor_reader(f"sqlite:///{tmp_path / name}")

    with pytest.raises(NotFound, match="`turnwise monitor run` creates it"):
        open_reader("missing.db")
    assert list(tmp_path.iterdir()) == [], "nothing is created"
    (tmp_path / "text.db").write_text("no database " * 1000)
    with pytest.raises(UserError, match="cannot be used as a monitor store: file is not a database"):
        open_reader("text.db")
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute(f"PRAGMA user_version = {len(migrations.STEPS)}")
    with pytest.raises(UserError, match="no such table"):
        open_reader("foreign.db")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", migrations.STEPS[:6])
        with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as connection:
            migrations.migrate(connection, "here")
    with pytest.raises(UserError, match="or one of an older Turnwise"):
        open_reader("old.db")
    open_monitor_store(f"sqlite:///{tmp_path / 'old.db'}").close()
    assert open_reader("old.db").topics() == []
    with pytest.raises(InvalidParameter, match="has an unknown scheme"):
        open_monitor_reader("nothing:///x")
