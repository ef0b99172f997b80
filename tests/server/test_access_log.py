"""Request ids and JSON logs. Logs never contain the text of a request or an answer."""

import json
import logging
import re

import httpx
import pytest

from turnwise.server.app import create_app
from turnwise.server.middleware.log_format import make_formatter
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

BODY = {"model": "latest", "messages": [{"role": "user", "content": "my secret words"}]}


@pytest.fixture
def lines(caplog):
    """Return all log records so far, as `--log-format json` writes them."""
    caplog.set_level(logging.INFO, logger="turnwise")

    def read():
        return [json.loads(make_formatter("json").format(record)) for record in caplog.records
                if record.name.startswith("turnwise")]  # fmt: skip

    return read


@pytest.mark.parametrize("path", ["/health", "/", "/assets/chat.js", "/nothing", "/v1/models/none"])
def test_every_response_has_a_request_id(url, path):
    ids = [httpx.get(url + path).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", id) for id in ids)
    assert ids[0] != ids[1]


def test_a_rejected_request_has_a_request_id(url):
    answer = httpx.post(f"{url}/v1/models", headers={"origin": "http://evil.example", "x-request-id": "mine-1"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (403, "mine-1")


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "<script>", "a,b", "ü"])
def test_an_unsafe_request_id_is_replaced(url, request_id):
    answer = httpx.get(f"{url}/health", headers={"x-request-id": request_id.encode()})
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("stream", [True, False])
def test_a_completion_is_logged_as_one_object_with_its_token_counts(url, lines, stream):
    body = {**BODY, "stream": stream, "user": "u-7\n"}
    httpx.post(f"{url}/v1/chat/completions?q=secret", json=body, headers={"x-request-id": "r-1"})
    [line] = lines()
    assert line.pop("ms") >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert line == {
        "level": "info", "method": "POST", "path": "/v1/chat/completions", "status": 200, "key": None, "user": "u-7\n",
        "model": "scripted", "version": None, "prompt_tokens": 3, "completion_tokens": 4, "finish": "stop",
        "error": None, "request_id": "r-1",
    }  # fmt: skip
    assert "secret" not in json.dumps(line)


def test_an_error_is_logged_with_its_code(url, lines):
    httpx.post(f"{url}/v1/chat/completions", json={**BODY, "model": "none"})
    [line] = lines()
    assert (line["status"], line["error"], line["model"], line["finish"]) == (404, "model_not_found", None, None)


def test_the_api_key_is_logged_by_its_name(lines, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    key = keys.create("Ada's laptop".replace("'", ""))
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys)) as url:
        httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})
        httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}x"})
    assert [(line["key"], line["status"]) for line in lines()] == [("Adas laptop", 200), (None, 401)]
    assert key not in json.dumps(lines())


def test_a_record_without_fields_is_one_line_with_its_message():
    record = logging.LogRecord("turnwise.server", logging.ERROR, "", 0, "two\nlines %s", ("here",), None)
    written = make_formatter("json").format(record)
    assert "\n" not in written
    assert json.loads(written)["message"] == "two\nlines here"
    assert json.loads(written)["level"] == "error"
