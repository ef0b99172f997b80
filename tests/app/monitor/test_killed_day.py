"""A simulated day through the command, with the real detector and index: kills change nothing that is stored."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "benchmarks" / "monitor_killed_day.py"


@pytest.mark.skipif(sys.platform == "win32", reason="forks processes")
def test_a_day_with_kills_stores_what_an_undisturbed_one_stores():
    options = ["--posts", "3000", "--topics", "3", "--surges", "3", "--history-days", "9", "--kills", "3", "--live"]
    process = subprocess.run([sys.executable, str(PROGRAM), *options], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    first, _, last = process.stdout.splitlines()
    numbers = [int(part.split()[0]) for part in first.split(", ")]
    assert numbers[0] > 2000
    assert numbers[1] >= 1, "the day has no alert to compare"
    assert numbers[2] >= 2, "the runs end before they are killed"
    assert last == "all tables are equal"
