"""`pytest --cpu-seconds N`: prints the CPU time of all tests and the N tests that took most of it.

Seconds of user and system time of the process that runs the test and of its finished children, with the fixtures that
the test is the first to use. On a busy machine this says more than the wall time of `--durations`.
"""

import os
from typing import Any

import pytest

PROPERTY = "cpu_seconds"


def used_seconds() -> float:
    """CPU time of this process and of its finished children until now."""
    return sum(os.times()[:4])


class CpuSeconds:
    """Hooks that are registered with `--cpu-seconds`: workers measure, the controller prints."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._start = 0.0
        self._seconds: dict[str, float] = {}
        self._worker_seconds = 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Start to measure a test; without workers this is also the process that runs it."""
        self._start = used_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Any:
        """Add the seconds of a test, its setup and its teardown to its last report."""
        report = yield
        if call.when == "teardown":
            report.user_properties.append((PROPERTY, used_seconds() - self._start))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what a worker, or this process, has measured."""
        for name, value in report.user_properties:
            if name == PROPERTY and report.when == "teardown":
                self._seconds[report.nodeid] = value

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Report all that a worker used, imports and collection included."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[PROPERTY] = used_seconds()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Called by xdist when a worker has finished, or crashed."""
        self._worker_seconds += getattr(node, "workeroutput", {}).get(PROPERTY, 0.0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the sums and the most expensive tests."""
        if not self._seconds:
            return
        # The controller does not add its children: they are the workers.
        total = self._worker_seconds + sum(os.times()[:2]) if self._worker_seconds else used_seconds()
        in_tests = sum(self._seconds.values())
        terminalreporter.section(
            f"{total:.1f} s of CPU time: {in_tests:.1f} s in {len(self._seconds)} tests, the rest in imports"
        )
        for nodeid, seconds in sorted(self._seconds.items(), key=lambda pair: -pair[1])[: self.count]:
            terminalreporter.write_line(f"{seconds:7.2f} s  {nodeid}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--cpu-seconds`."""
    parser.addoption("--cpu-seconds", type=int, metavar="N", help="print the N tests that take most CPU time")


def pytest_configure(config: pytest.Config) -> None:
    """Register the measurement, in every worker."""
    count = config.getoption("--cpu-seconds")
    if count is not None:
        config.pluginmanager.register(CpuSeconds(count), "cpu_seconds_hooks")
