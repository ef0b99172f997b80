"""Progress is a bar in a terminal and log lines elsewhere."""

import io

from rich.console import Console

from turnwise.core import progress_log
from turnwise.core.progress_log import ProgressLog


def test_a_file_gets_log_lines_with_the_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress_log.time, "monotonic", lambda: clock[0])
    console = Console(file=io.StringIO(), width=200)
    log = ProgressLog(console)
    for step in range(1, 61):
        clock[0] += 1
        log.update(step, 600, f"step {step}/600")
    output = console.file.getvalue().splitlines()
    assert [line.split(",")[0] for line in output] == ["step 15/600", "step 30/600", "step 45/600", "step 60/600"]
    assert output[0].endswith("about 10 min left")


def test_a_terminal_gets_no_log_lines(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(progress_log, "SECONDS", 0.0)
    ProgressLog(console).update(1, 2, "step")
    assert not console.file.getvalue()
