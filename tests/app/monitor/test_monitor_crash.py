"""SIGKILL at any statement loses nothing and counts nothing twice."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MEMORY = Path("/dev/shm")  # a disk that others use makes the runs slow
PROGRAM = Path(__file__).with_name("monitor_killed.py")


@pytest.mark.skipif(sys.platform == "win32", reason="forks processes")
@pytest.mark.parametrize(("num_sources", "at_least"), [(1, 400), (2, 250)])
def test_a_monitor_that_is_killed_fifty_times_stores_what_an_undisturbed_one_stores(num_sources, at_least):
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        process = subprocess.run(
            [sys.executable, str(PROGRAM), folder, "50", "1", str(num_sources)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stderr
    num_killed, num_texts, num_alerts = map(int, process.stdout.split())
    assert num_killed >= 40, "the runs end before they are killed"
    assert num_texts > at_least
    assert num_alerts > 2
