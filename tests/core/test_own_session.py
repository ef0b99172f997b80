"""A command in a session of its own: priority, signals and exit codes of real processes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from turnwise.core import own_session

needs_groups = pytest.mark.skipif(
    not own_session.ENABLED.is_file() or own_session.ENABLED.read_text().strip() != "1",
    reason="this kernel does not schedule sessions as groups",
)
RUN = (
    "import sys; from turnwise.core import own_session; sys.exit(own_session.run([sys.executable, '-c', sys.argv[1]]))"
)
PRELUDE = "import os, signal, sys, time; from turnwise.core import own_session; own_session.end_with_parent()\n"


@pytest.fixture
def start():
    """`start(code)`: a process that runs Python code in a session of its own."""
    with ExitStack() as stack:

        def make(code):
            command = [sys.executable, "-c", RUN, PRELUDE + code]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield make


def test_the_command_leads_its_session_and_its_exit_code_is_returned(start):
    process = start("print(os.getsid(0) == os.getpid()); sys.exit(7)")
    assert process.communicate()[0] == "True\n"
    assert process.returncode == 7


@needs_groups
def test_the_priority_of_the_session_is_set_and_that_of_the_caller_stays(start):
    before = Path("/proc/self/autogroup").read_text()
    process = start("own_session.raise_niceness(9); print(open('/proc/self/autogroup').read())")
    assert "nice 9" in process.communicate()[0]
    assert Path("/proc/self/autogroup").read_text() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_reaches_the_command(start, number):
    code = f"signal.signal({int(number)}, lambda *_: sys.exit(42)); print('ready', flush=True); time.sleep(60)"
    process = start(code)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(timeout=30) == 42


def test_the_command_ends_with_the_process_that_started_it(start):
    process = start("print(os.getpid(), flush=True); time.sleep(60)")
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while _is_alive(pid):
        assert time.monotonic() < deadline, "it goes on alone"
        time.sleep(0.01)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_session_of_its_own_is_useful_unless_the_process_leads_one():
    code = "import os; os.setsid(); from turnwise.core import own_session; print(own_session.is_useful())"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "False\n"
    assert own_session.is_useful() in (os.getsid(0) != os.getpid(), False)
