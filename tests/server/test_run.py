"""The process: where it listens, what it says, how it ends."""

import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from turnwise.server.app import create_app
from turnwise.server.run import CannotListen, serve
from turnwise.testing import ScriptedChat

PROGRAM = """
import sys
from turnwise.server.app import create_app
from turnwise.server.run import serve
from turnwise.testing import ScriptedChat

def endless(turn):
    while True:
        yield "secret answer "

serve(create_app({"scripted": ScriptedChat(endless, delay=0.02)}, default="scripted"), port=0)
print("tidied up", flush=True)
"""
BODY = {"model": "scripted", "messages": [{"role": "user", "content": "secret question"}], "stream": True}


@pytest.fixture
def app():
    return create_app({"scripted": ScriptedChat()}, default="scripted")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_soon_also_with_open_streams(how):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", said)[0]
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=BODY) as answer:
            lines = answer.iter_lines()
            while "secret" not in next(lines):
                pass
            began = time.monotonic()
            process.send_signal(how)
            out, errors = process.communicate(timeout=10)
        assert time.monotonic() - began < 3
    assert process.returncode == 0
    assert out == "tidied up\n"
    assert "Traceback" not in errors
    assert "secret" not in errors
    assert re.search(r"^\d\d:\d\d:\d\d POST /v1/chat/completions 200 \d+ ms$", errors, re.MULTILINE)


def test_a_taken_port_is_explained(app):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"port {port}: address already in use\. .*--port 0"):
            serve(app, port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_other_machines_are_let_in_only_on_demand(app, host):
    with pytest.raises(CannotListen, match=r"without a key\. Use --host 127\.0\.0\.1, or say --allow-remote"):
        serve(app, host=host, port=0)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("127.0.0.1", -1), ("no such host", 0)])
def test_an_impossible_address_is_explained(app, host, port):
    with pytest.raises(CannotListen, match=r"There is no (port|address)"):
        serve(app, host=host, port=port, allow_remote=True)
