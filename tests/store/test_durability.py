"""Acknowledged messages survive the end of client processes by SIGKILL."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.timeout(300)
def test_acknowledged_messages_survive_sigkill_of_all_clients():
    script = Path(__file__).with_name("never_lost.py")
    # In a process of its own, because threads of the test runner do not survive a fork.
    result = subprocess.run([sys.executable, script, "100"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    runs, branches = [int(word) for word in result.stdout.split() if word.isdigit()][:2]
    assert runs == 100
    assert branches > 100, "the clients have made requests"
