"""`turnwise monitor`: replay and live give the same alerts; lists, trends and dead letters; Ctrl-C ends cleanly."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor_stand_ins import DETECTION, START, random_stream
from turnwise.cli.main import app
from turnwise.cli.monitor_output import print_source_error
from turnwise.core.errors import InvalidParameter, NotFound, Unavailable, UserError
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.monitor_records import MonitoredText, SurgeAlert, TopicCount
from turnwise.core.stream_texts import StreamText
from turnwise.core.webhook_deliveries import WebhookEvent
from turnwise.store import open_monitor_store

TESTS = Path(__file__).parents[1]
TOPICS = "topics:\n  - {name: Acme, words: [acme]}\n  - {name: Globex, tickers: [GBX]}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.open_monitor.load_detection", lambda settings: DETECTION)
    monkeypatch.chdir(tmp_path)
    records = random_stream(400, seed=3)
    (tmp_path / "posts.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    (tmp_path / "topics.yaml").write_text(TOPICS)
    return tmp_path


def run(*arguments, error=None):
    result = CliRunner().invoke(app, ["monitor", *map(str, arguments)])
    if error is not None:
        assert isinstance(result.exception, error), result.exception
        return str(result.exception)
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result


def alerts(db):
    return [
        {**json.loads(line), "texts": None}
        for line in run("alerts", "--db", db, "--json", "--limit", 1000).stdout.splitlines()
    ]


def test_a_replay_prints_alerts_and_figures_and_stores_nothing(folder):
    result = run("replay", "posts.jsonl", "--topics", "topics.yaml")
    assert "opened  Acme  volume" in result.stdout
    assert "closed  Acme  volume" in result.stdout
    assert "texts without a topic" in result.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["posts.jsonl", "topics.yaml"]


@pytest.mark.costly
def test_a_live_run_in_pieces_gives_the_alerts_of_a_replay(folder):
    run("replay", "posts.jsonl", "--topics", "topics.yaml", "--db", "replay.db")
    lines = (folder / "posts.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "monitor.yaml").write_text(
        "db: live.db\ntopics: topics.yaml\nsources:\n  - {kind: file, path: live.jsonl, name: live}\n"
    )
    for start in range(0, len(lines), 90):
        with (folder / "live.jsonl").open("ab") as file:
            file.write(b"".join(lines[start : start + 90]))
        run("run", "monitor.yaml", "--once")
    replayed, live = alerts("replay.db"), alerts("live.db")
    assert len(live) > 3
    assert live == replayed[-len(live) :], "a replay closes the last windows too"
    assert len(replayed) - len(live) <= 2


@pytest.mark.costly
def test_trends_list_topics_and_counts(folder):
    run("replay", "posts.jsonl", "--topics", "topics.yaml", "--db", "m.db")
    assert run("trends", "--db", "m.db").stdout.split() == ["Acme", "Globex"]
    rows = [
        json.loads(line)
        for line in run("trends", "Acme", "--db", "m.db", "--hours", "9999", "--json").stdout.splitlines()
    ]
    store = open_monitor_store("sqlite:///m.db")
    assert sum(row["texts"] for row in rows) == sum(count.texts for count in store.counts("Acme", 0))
    store.close()
    assert "TIME (UTC)" in run("trends", "Acme", "--db", "m.db", "--hours", "2", "--minutes", "15").stdout
    table = run("trends", "Acme", "--db", "m.db", "--hours", "9999", "--minutes", "1").stdout
    assert table.split("\n")[0].split()[2:] == ["TEXTS", "SINGLE", "EXPECTED", "ALERT", "AT", "NEGATIVE"]
    assert any(line.split()[4:6] == ["1.5", "5"] for line in table.splitlines())
    assert "did you mean 'Acme'" in run("trends", "Acne", "--db", "m.db", error=NotFound)


def test_dead_letters_are_listed_and_sent_again(folder):
    store = open_monitor_store("sqlite:///m.db")
    store.commit(MonitorBatch(events=[WebhookEvent("a_opened", "https://example.com/hooks/secret", "{}", START)]))
    (delivery,) = store.deliveries("pending")
    store.update_delivery(delivery.__class__(delivery.number, delivery.event, "dead", 9, START, START, "status 500"))
    store.close()
    assert (
        "a_opened  https://example.com/hooks/se…  9 attempts, last: status 500"
        in run("dead-letters", "--db", "m.db").stdout
    )
    assert json.loads(run("dead-letters", "--db", "m.db", "--json").stdout)["url"] == "https://example.com/hooks/se…"
    assert "no dead letter 'b'" in run("resend", "b", "--db", "m.db", error=NotFound)
    assert run("resend", "--db", "m.db").stdout == "1 event will be sent again.\n"
    assert run("dead-letters", "--db", "m.db").stdout == ""


HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202etxt\x9b2J"


def test_texts_of_others_cannot_control_the_terminal(folder):
    alert = SurgeAlert("a", f"A{HOSTILE}", "volume", 60, 120, None, 1.0, 9.0, 9.0, f"First: {HOSTILE}")
    monitored = MonitoredText(0, StreamText("i", HOSTILE, 61.0, "s"), (alert.topic,))
    store = open_monitor_store("sqlite:///m.db")
    event = WebhookEvent(HOSTILE, f"https://example.com/{HOSTILE}", json.dumps({"text": HOSTILE}), START)
    batch = MonitorBatch(
        texts=[monitored], opened=[alert], alert_texts={"a": [0]}, counts=[TopicCount(alert.topic, 60, 1, 1, 0)],
        events=[event],
    )  # fmt: skip
    store.commit(batch)
    (delivery,) = store.deliveries("pending")
    store.update_delivery(replace(delivery, state="dead", error=HOSTILE))
    store.close()
    commands = [
        ("alerts",), ("alerts", "--json"), ("trends",), ("dead-letters",), ("dead-letters", "--json"),
    ]  # fmt: skip
    for command in commands:
        printed = run(*command, "--db", "m.db").stdout
        assert printed.strip()
        assert printed.replace("\n", "").isprintable(), command
    (line,) = run("alerts", "--db", "m.db", "--json").stdout.splitlines()
    assert json.loads(line)["texts"][0]["text"] == HOSTILE
    assert json.loads(line)["topic"] == alert.topic


def test_a_reason_that_quotes_a_server_cannot_control_the_terminal(capsys):
    print_source_error("feed", f"status {HOSTILE}")
    assert capsys.readouterr().err.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["run", "--topics", "topics.yaml"], InvalidParameter, "Name a source"),
        (["run", "--source", "file:posts.jsonl"], InvalidParameter, "Name the topics"),
        (["run", "--source", "flie:x", "--topics", "topics.yaml"], InvalidParameter, "did you mean 'file'"),
        (["run", "--source", "-", "--source", "-", "--topics", "topics.yaml"], InvalidParameter, "the name 'stdin'"),
        (["run", "--source", "feed:ftp://x", "--topics", "topics.yaml", "--db", "m.db"], InvalidParameter, "http"),
        (["run", "wrong.yaml"], InvalidParameter, "unknown key 'topisc': did you mean 'topics'"),
        (["run", "no_path.yaml"], InvalidParameter, "kind 'file' needs 'path'"),
        (["run", "monitor.yaml", "--webhook", "https://x.example"], InvalidParameter, "TURNWISE_WEBHOOK_SECRET"),
        (["replay", "nothing.jsonl", "--topics", "topics.yaml"], UserError, "There is no file nothing.jsonl"),
        (["alerts", "--db", "nothing.db"], NotFound, "There is no store nothing.db yet"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(folder, arguments, error, message, monkeypatch):
    monkeypatch.delenv("TURNWISE_WEBHOOK_SECRET", raising=False)
    (folder / "wrong.yaml").write_text("topisc: topics.yaml\n")
    (folder / "no_path.yaml").write_text("topics: topics.yaml\nsources: [{kind: file}]\n")
    (folder / "monitor.yaml").write_text("topics: topics.yaml\nsources: [{kind: file, path: posts.jsonl}]\n")
    assert message in run(*arguments, error=error)


def test_two_monitors_cannot_use_one_store(folder):
    store = open_monitor_store("sqlite:///m.db")
    store.claim()
    arguments = ["run", "--source", "file:posts.jsonl", "--topics", "topics.yaml", "--db", "m.db", "--once"]
    assert "Another monitor is running" in run(*arguments, error=Unavailable)
    store.close()
    run(*arguments)


def test_a_secret_is_new_and_valid(folder):
    from turnwise.app.monitor.webhooks import make_webhook

    first, second = (run("secret").stdout.strip() for _ in range(2))
    assert first != second
    assert make_webhook("https://example.com", first).keys


PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from monitor_stand_ins import DETECTION
from turnwise.app.monitor import open_monitor
from turnwise.cli.main import main
open_monitor.load_detection = lambda settings: DETECTION
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for other processes")
@pytest.mark.parametrize("source", ["file:posts.jsonl", "-"])
def test_ctrl_c_ends_after_the_batch(folder, source):
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        TESTS,
        "monitor",
        "run",
        "--source",
        source,
        "--topics",
        "topics.yaml",
        "--db",
        "m.db",
    ]
    process = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if source == "-":
        process.stdin.write((folder / "posts.jsonl").read_text())
        process.stdin.flush()
    while True:
        if (folder / "m.db").is_file():
            store = open_monitor_store("sqlite:///m.db")
            figures = store.figures()
            store.close()
            if figures.get("texts", 0) > 300:
                break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate()
    assert process.returncode == 0, printed
    assert "Following" in printed
    assert "near copies, collapsed" in printed
    assert "Traceback" not in printed
