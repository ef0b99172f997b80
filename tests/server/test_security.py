"""Protection against other origins and DNS rebinding, security headers, and logs without content."""

import logging

import httpx
import pytest

from turnwise.core.errors import ModelNotFound
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread

BODY = {"model": "scripted", "messages": [{"role": "user", "content": "my secret words"}]}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
def test_posts_from_other_origins_are_rejected(url, chat, origin):
    for method, path in (
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/conversations"),
        ("DELETE", "/v1/conversations/x"),
    ):
        answer = httpx.request(method, url + path, json=BODY, headers={"origin": origin})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert chat.requests == []


def test_requests_of_the_page_and_without_an_origin_are_accepted(url):
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY, headers={"origin": url}).status_code == 200
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", ""])
def test_a_foreign_host_name_is_rejected(url, host):
    """DNS rebinding: the origin of the page equals the host, and both belong to the attacker."""
    answer = httpx.get(f"{url}/v1/conversations", headers={"host": host, "origin": f"http://{host}"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST", "[::1]:80", "127.0.0.1", "chat.localhost"]
)
def test_loopback_names_are_accepted(url, host):
    assert httpx.get(f"{url}/health", headers={"host": host}).status_code == 200


def test_the_host_of_a_proxy_can_be_allowed():
    chat = ScriptedChatService()
    with serve_in_thread(create_app({"scripted": chat}, default="scripted", allowed_hosts=["chat.example"])) as url:
        headers = {"host": "chat.example", "origin": "https://chat.example"}
        assert httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/classify", "/monitor", "/assets/style.css", "/v1/models", "/nothing"])
def test_every_response_has_the_security_headers(url, path):
    headers = httpx.get(url + path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_no_origin_is_allowed_by_default(url):
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = httpx.options(f"{url}/v1/chat/completions", headers=headers)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_a_request_is_logged_in_one_line_without_its_content(url, caplog):
    with caplog.at_level(logging.INFO, logger="turnwise.access"):
        httpx.post(f"{url}/v1/chat/completions?key=secret-key", json=BODY)
        httpx.get(f"{url}/v1/models/a%0d%0aforged line")
    lines = [record.getMessage() for record in caplog.records if record.name == "turnwise.access"]
    assert lines[0].startswith("POST /v1/chat/completions 200 ")
    assert lines[1].startswith(r"GET /v1/models/a\r\nforged line 404 ")
    assert "secret" not in " ".join(lines)


def test_the_server_is_not_ready_without_its_model(url, chat, services):
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
    assert httpx.get(f"{url}/ready").json() == {"status": "ready", "models": ["scripted"]}
    services.clear()
    answer = httpx.get(f"{url}/ready")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert httpx.get(f"{url}/health").status_code == 200


def test_the_default_model_must_be_served():
    with pytest.raises(ModelNotFound, match="Served models: scripted"):
        create_app({"scripted": ScriptedChatService()}, default="other")


def test_the_api_works_without_the_page():
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted", web=False)) as url:
        assert httpx.get(url).status_code == 404
        assert httpx.get(f"{url}/docs").status_code == 200
        assert httpx.get(f"{url}/v1/models").status_code == 200
        answer = httpx.get(f"{url}/v1/conversations")
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "This server does not store conversations."


def test_the_pages_load_nothing_from_other_hosts(url):
    from turnwise.server.routes.pages import WEB

    own_files = [path for path in WEB.rglob("*.*") if path.is_file() and "vendor" not in path.parts]
    for file in (*own_files, *WEB.with_name("templates").rglob("*.*")):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/1998/Math/MathML", "")
        for word in ("http://", "https://", "//cdn", "@import", "innerHTML", "onclick=", "<script>", "style=", "eval("):
            allowed = word.startswith("http") and file.name in ("markdown.js", "icon.svg")
            assert allowed or word not in text.replace("http://www.w3.org/2000/svg", ""), f"{word} in {file.name}"
