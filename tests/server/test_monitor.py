"""`/v1/monitor`: a store that the real pipeline filled, on a real server, also while another process writes it."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from monitor_stand_ins import START, WINDOW, open_test_pipeline, random_stream, text
from turnwise.server.app import create_app
from turnwise.server.routes import monitor as routes
from turnwise.store import open_monitor_reader, open_monitor_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

WRITER = Path(__file__).with_name("monitor_writer.py")
TEXTS = [
    *(text(second, f"acme news {second}") for second in range(0, 50, 10)),
    text(51, "ACME NEWS 0", id="copy"),
    text(52, "GBX rises"),
    text(61, "acme sell " + "x" * 5000),
    text(62, "acme sells", sentiment="bearish"),
    text(200, "acme is quiet"),
]


def serve(monitor, **settings):
    return serve_in_thread(
        create_app({"scripted": ScriptedChatService()}, default="scripted", monitor=monitor, **settings)
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = open_monitor_store(f"sqlite:///{tmp_path_factory.mktemp('monitor') / 'monitor.db'}")
    pipeline = open_test_pipeline(opened)
    pipeline.process(TEXTS)
    pipeline.finish()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(store):
    with (
        serve(open_monitor_reader(f"sqlite:///{store._path}")) as url,
        httpx.Client(base_url=url, timeout=60) as created,
    ):
        yield created


def test_topics_are_listed_with_the_newest_window(client):
    expected = {"object": "list", "data": ["Acme", "Globex"], "newest_window": START + 3 * WINDOW}
    assert client.get("/v1/monitor/topics").json() == expected
    assert client.get("/v1/models").json()["has_monitor"]


def test_a_trend_has_the_counts_of_every_interval_up_to_the_newest_window_of_any_topic(client):
    body = client.get("/v1/monitor/trends", params={"minutes": 1, "hours": 0.1}).json()
    assert (body["object"], body["seconds"], body["newest_window"]) == ("list", WINDOW, START + 3 * WINDOW)
    assert body["starts"] == [START + WINDOW * number for number in range(-2, 4)]
    expectations = {
        "expected": [None] + [1.5] * 5, "expected_negatives": [None] + [0.5] * 5, "thresholds": [None] + [5] * 5,
    }  # fmt: skip
    assert body["data"] == [
        {"object": "monitor.trend", "topic": "Acme", "texts": [0, 0, 6, 2, 0, 1], "counts": [0, 0, 5, 2, 0, 1],
         "negatives": [0, 0, 0, 2, 0, 0], **expectations},
        {"object": "monitor.trend", "topic": "Globex", "texts": [0, 0, 1, 0, 0, 0], "counts": [0, 0, 1, 0, 0, 0],
         "negatives": [0] * 6, **expectations},
    ]  # fmt: skip
    one = client.get("/v1/monitor/trends", params={"minutes": 1, "hours": 0.1, "topic": "Globex"}).json()
    assert one == body | {"data": body["data"][1:]}


def test_the_default_is_a_day_in_hours_and_an_interval_longer_than_the_period_is_one_interval(client):
    assert len(client.get("/v1/monitor/trends").json()["starts"]) == 24
    body = client.get("/v1/monitor/trends", params={"minutes": 10_080, "hours": 1, "topic": "Acme"}).json()
    assert (len(body["starts"]), body["data"][0]["texts"]) == (1, [9])


def test_what_was_expected_is_added_up_where_it_is_complete(client):
    """Two windows are an interval; the first closed window is the one before START."""
    trend = client.get("/v1/monitor/trends", params={"minutes": 2, "hours": 0.2, "topic": "Acme"}).json()["data"][0]
    assert START % (2 * WINDOW) == WINDOW
    assert trend["counts"][-3:] == [5, 2, 1]
    assert trend["expected"][-3:] == [3.0, 3.0, 1.5], "the newest interval may be incomplete"
    assert trend["thresholds"][-3:] == [8, 8, None], "it is not over"
    assert set(trend["expected"][:-3]) == {None}
    hours = client.get("/v1/monitor/trends", params={"topic": "Acme"}).json()["data"][0]
    assert set(hours["thresholds"]) == {None}, "no alert is about an hour of these windows"


def test_alerts_are_listed_newest_first(client, store):
    stored = store.alerts(9)
    assert len(stored) == 1
    body = client.get("/v1/monitor/alerts").json()
    assert body == {
        "object": "list",
        "has_more": False,
        "data": [{
            "id": stored[0].id, "object": "monitor.alert", "topic": "Acme", "kind": "volume", "start": START,
            "opened": START + WINDOW, "closed": START + 2 * WINDOW, "expected": 1.0, "observed": 5.0, "score": 9.0,
            "summary": stored[0].summary,
        }],
    }  # fmt: skip


def test_a_limit_leaves_out_the_oldest_alerts(tmp_path):
    with closing(open_monitor_store(f"sqlite:///{tmp_path / 'm.db'}")) as store:
        pipeline = open_test_pipeline(store)
        for surge in range(3):
            start = 300 * surge
            pipeline.process([text(start + second, f"acme {surge} {second}") for second in range(0, 50, 10)])
        pipeline.finish()
        reader = open_monitor_reader(f"sqlite:///{store._path}")
        with serve(reader) as url, httpx.Client(base_url=url, timeout=60) as client:
            pages = {limit: client.get(f"/v1/monitor/alerts?limit={limit}").json() for limit in (1, 2, 3)}
    opened = [START + WINDOW + 300 * surge for surge in (2, 1, 0)]
    for limit, page in pages.items():
        assert ([alert["opened"] for alert in page["data"]], page["has_more"]) == (opened[:limit], limit < 3)
    assert [alert["closed"] is None for alert in pages[3]["data"]] == [True, False, False]


def test_an_alert_has_its_texts_with_near_copies_together(client, store):
    (alert,) = client.get("/v1/monitor/alerts").json()["data"]
    body = client.get(f"/v1/monitor/alerts/{alert['id']}").json()
    texts = body.pop("texts")
    assert body == alert
    assert [(entry["text"][:11], entry["copies"]) for entry in texts][:2] == [("acme news 0", 1), ("acme news 1", 0)]
    assert sum(1 + entry["copies"] for entry in texts) == len(store.alert_texts(alert["id"])) == 8
    assert texts[0] == {
        "id": "t0-acme news 0", "source": "test", "time": START, "text": "acme news 0", "is_truncated": False,
        "sentiment": "bullish", "is_negative": False, "copies": 1,
    }  # fmt: skip
    assert [(len(entry["text"]), entry["is_truncated"]) for entry in texts[5:]] == [(4000, True), (10, False)]
    assert [entry["is_negative"] for entry in texts[5:]] == [True, True]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("trends?topic=Acne", 404, "There are no counts of 'Acne'; did you mean 'Acme'?"),
        ("trends?topic=", 404, "There are no counts of ''; known: Acme, Globex"),
        ("trends?hours=nan", 400, "'hours': Input should be"),
        ("trends?hours=0", 400, "'hours': Input should be greater than or equal to 0.1"),
        ("trends?minutes=1.5", 400, "'minutes': Input should be a valid integer"),
        ("trends?hours=100&minutes=5", 400, "100 hours have more than 1,000 intervals of 5 minutes. Set fewer 'hours'"),
        ("alerts?limit=0", 400, "'limit': Input should be greater than or equal to 1"),
        ("alerts/%3Cb%3E%2F", 404, "There is no alert '<b>/'."),
    ],
)
def test_a_wrong_request_gets_a_sentence(client, path, status, message):
    answer = client.get(f"/v1/monitor/{path}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_trends_of_all_topics_have_a_limit_together(client, monkeypatch):
    monkeypatch.setattr(routes, "MAX_TREND_POINTS", 47)
    answer = client.get("/v1/monitor/trends")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "minutes")
    assert "2 topics with 24 intervals are more than 47 counts. Name a 'topic'" in answer.json()["error"]["message"]
    assert client.get("/v1/monitor/trends?topic=Acme").status_code == 200


def test_the_openapi_document_describes_routes_and_parameters(client):
    paths = client.get("/openapi.json").json()["paths"]
    parameters = {
        path: [parameter["name"] for parameter in operations["get"].get("parameters", [])]
        for path, operations in paths.items()
        if path.startswith("/v1/monitor/")
    }
    assert parameters == {
        "/v1/monitor/topics": [],
        "/v1/monitor/trends": ["topic", "hours", "minutes"],
        "/v1/monitor/alerts": ["limit"],
        "/v1/monitor/alerts/{id}": ["id"],
    }


def test_a_server_without_a_monitor_says_how_to_show_one():
    with serve(None) as url:
        for path in ("topics", "trends", "alerts", "alerts/a"):
            answer = httpx.get(f"{url}/v1/monitor/{path}")
            assert answer.status_code == 404
            assert "turnwise serve --monitor FILE" in answer.json()["error"]["message"]
        assert not httpx.get(f"{url}/v1/models").json()["has_monitor"]


def test_the_routes_need_a_key_and_the_page_does_not(store, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    headers = {"authorization": f"Bearer {keys.create('me', role='admin')}"}
    with serve(open_monitor_reader(f"sqlite:///{store._path}"), keys=keys) as url:
        assert httpx.get(f"{url}/monitor").status_code == 200
        for path in ("topics", "trends", "alerts", "alerts/a"):
            assert httpx.get(f"{url}/v1/monitor/{path}").json()["error"]["code"] == "invalid_api_key"
        assert httpx.get(f"{url}/v1/monitor/topics", headers=headers, timeout=60).status_code == 200


def test_a_store_that_cannot_be_used_is_an_error_and_the_server_goes_on(tmp_path):
    path = tmp_path / "m.db"
    store = open_monitor_store(f"sqlite:///{path}")
    open_test_pipeline(store).process(TEXTS)
    store.close()
    with serve(open_monitor_reader(f"sqlite:///{path}")) as url:

        def read():
            answer = httpx.get(f"{url}/v1/monitor/trends", timeout=60)
            return answer.status_code, answer.json().get("error", {}).get("message", "")

        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN IMMEDIATE")
            busy = read()
        with closing(sqlite3.connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version + 1}")
            migrated = read()
            connection.execute(f"PRAGMA user_version = {version}")
        path.rename(tmp_path / "away.db")
        missing = read()
        path.write_bytes(b"damaged " * 1000)
        damaged = read()
        path.unlink()
        (tmp_path / "away.db").rename(path)
        assert busy == (503, "The monitor store is busy: another process is changing it. Try again soon.")
        assert (migrated[0], "another version of Turnwise" in migrated[1]) == (503, True)
        assert (missing[0], "is missing" in missing[1]) == (503, True)
        assert (damaged[0], "could not be read: file is not a database" in damaged[1]) == (500, True)
        assert str(tmp_path) not in f"{busy}{migrated}{missing}{damaged}"
        assert read() == (200, "")


def test_a_running_writer_does_not_disturb_reading(tmp_path):
    """Nothing that was read goes away, and every alert has its texts."""
    number, batch_size = 400, 5
    records = [{**record, "id": str(index)} for index, record in enumerate(random_stream(number, seed=5))]
    (tmp_path / "records.json").write_text(json.dumps(records))
    path = tmp_path / "m.db"
    open_monitor_store(f"sqlite:///{path}").close()
    command = [sys.executable, WRITER, path, tmp_path / "records.json", batch_size]
    with (
        serve(open_monitor_reader(f"sqlite:///{path}")) as url,
        httpx.Client(base_url=f"{url}/v1/monitor", timeout=60) as client,
        subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as writer,
    ):
        totals, num_alerts, written = [Counter()], [0], 0
        for line in writer.stdout:
            written = int(line)
            body = client.get("trends?hours=9600&minutes=1440").raise_for_status().json()
            totals.append(Counter({trend["topic"]: sum(trend["texts"]) for trend in body["data"]}))
            alerts = client.get("alerts?limit=1000").raise_for_status().json()["data"]
            num_alerts.append(len(alerts))
            if alerts:
                texts = client.get(f"alerts/{alerts[0]['id']}").raise_for_status().json()["texts"]
                assert texts, "an alert and its texts are one transaction"
        assert writer.wait() == 0
        assert written == number
    assert all(before <= after for before, after in pairwise(totals))
    assert num_alerts == sorted(num_alerts)
    assert num_alerts[-1] > 0
    with closing(open_monitor_store(f"sqlite:///{path}")) as store:
        expected = Counter()
        for count in store.counts(None, 0):
            expected[count.topic] += count.texts
        assert totals[-1] == expected
