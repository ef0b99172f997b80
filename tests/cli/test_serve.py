"""`turnwise serve` as a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import openai
import pytest

pytestmark = pytest.mark.timeout(60)
MAX_SHUTDOWN_SECONDS = 3 if os.getloadavg()[0] <= (os.cpu_count() or 1) else 20  # a complete answer would take minutes
PROGRAM = "from turnwise.cli.main import main; main()"
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_server_starts_answers_and_stops(talkative_folder):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", str(talkative_folder), "--port", "0", "--threads", "1",
         "--max-tokens", "12", "--served-model-name", "chatty", "--max-num-seqs", "2",
         "--timeout-graceful-shutdown", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            output = ""
            while not (match := re.search(r"http://127\.0\.0\.1:\d+", output)):
                line = process.stdout.readline()
                assert line, process.stderr.read()
                output += line
            with openai.OpenAI(base_url=f"{match[0]}/v1", api_key="none", max_retries=0, timeout=60) as client:
                assert next(model.id for model in client.models.list()) == "chatty"
                answer = client.chat.completions.create(model="chatty", messages=HELLO, temperature=0)
                assert answer.choices[0].finish_reason == "length"
                assert answer.usage.completion_tokens == 12  # the value of --max-tokens
                streamed = client.chat.completions.create(
                    model="chatty", messages=HELLO, temperature=0, max_tokens=12, stream=True
                )
                chunks = [chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices]
                assert "".join(chunks) == answer.choices[0].message.content
                endless = client.chat.completions.create(
                    model="chatty", messages=HELLO, temperature=0, max_tokens=29_000, stream=True
                )
                for _ in range(5):
                    next(endless)
                start = time.monotonic()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=30)
                assert time.monotonic() - start < MAX_SHUTDOWN_SECONDS
        finally:
            process.kill()
    assert process.returncode == 0
    assert "chatty: context of 30,000 tokens, up to 2 sequences at once." in output
    assert "conversations.db" in output
    assert "Traceback" not in errors


def test_a_port_in_use_is_reported_in_one_line(turnwise, model_folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, _, err = turnwise("serve", model_folder, "--port", port, "--store", "none")
    assert code == 2
    assert err == (
        f"Error: Cannot listen on 127.0.0.1 port {port}: address already in use. "
        "Choose another port with --port, or --port 0 for any free one.\n"
    )


def test_a_public_host_requires_allow_remote(turnwise, model_folder):
    code, _, err = turnwise("serve", model_folder, "--host", "0.0.0.0", "--store", "none")
    assert code == 2
    assert "--allow-remote" in err


@pytest.mark.parametrize("flags", [["--port", "70000"], ["--max-num-seqs", "0"], ["--threads", "0"]])
def test_numbers_out_of_range_are_rejected(flags, turnwise, model_folder):
    code, _, err = turnwise("serve", model_folder, *flags)
    assert code == 2
    assert f"Invalid value for '{flags[0]}'" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-concurrent-requests", "0"], "Invalid value for '--max-concurrent-requests'"),
        (["--request-timeout", "0"], "Invalid value for '--request-timeout'"),
        (["--timeout-graceful-shutdown", "-1"], "Invalid value for '--timeout-graceful-shutdown'"),
        (["--max-body-size", "10"], "Invalid value for '--max-body-size'"),
        (["--log-format", "xml"], "Invalid value for '--log-format'"),
        (["--allowed-origin", "*"], "Error: '*' is not an origin; write it as https://example.org"),
        (
            ["--context-policy", "forget"],
            "Error: There is no context policy 'forget'; known: drop_oldest, pinned, "
            "pinned_summary, refuse, sliding_window, summarise",
        ),
    ],
)
def test_invalid_limits_are_rejected_before_the_model_is_loaded(flags, message, turnwise):
    code, _, err = turnwise("serve", *flags)
    assert code == 2
    assert message in err


@pytest.mark.slow
def test_the_server_applies_keys_limits_and_log_format(turnwise, model_folder, tmp_path):
    key = turnwise("keys", "create", "--name", "me", "--quiet")[1].strip()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", str(model_folder), "--port", "0", "--threads", "1", "--store", "none",
         "--host", "0.0.0.0", "--max-body-size", "2000", "--allowed-origin", "https://app.example",
         "--log-format", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            output = ""
            while not (match := re.search(r"http://0\.0\.0\.0:(\d+)", output)):
                line = process.stdout.readline()
                assert line, process.stderr.read()
                output += line
            url = f"http://127.0.0.1:{match[1]}"
            assert httpx.get(f"{url}/v1/models").status_code == 401
            headers = {"Authorization": f"Bearer {key}", "Origin": "https://app.example"}
            response = httpx.get(f"{url}/v1/models", headers=headers)
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == "https://app.example"
            rejected = httpx.post(f"{url}/v1/chat/completions", headers=headers, json={"messages": "x" * 3000})
            assert rejected.status_code == 413
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert "Requests need an API key" in output
    log = [json.loads(line) for line in errors.splitlines()]
    assert [(line["status"], line["key"]) for line in log] == [(401, None), (200, "me"), (413, "me")]
    assert key not in errors
