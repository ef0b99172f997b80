"""Clients that are killed while they share a conversation lose nothing that was acknowledged."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.timeout(300)
def test_what_was_acknowledged_can_be_reached_after_kill_9():
    script = Path(__file__).with_name("never_lost.py")
    # A process of its own: the test runner has threads, which do not survive a fork.
    done = subprocess.run([sys.executable, script, "100"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    runs, branches = [int(word) for word in done.stdout.split() if word.isdigit()][:2]
    assert runs == 100
    assert branches > 100, "the clients got to do something"
