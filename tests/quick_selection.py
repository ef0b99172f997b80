"""`pytest --quick`: the tests of an inner loop (`make quick`). `make test` runs all tests.

Left out are

- tests with a marker of `OMITTED_MARKERS`,
- cases of a parametrized test: `MAX_CASES` run, the first, the last and evenly spaced ones between,
- examples of a property test: `MAX_EXAMPLES` run,
- tests that start a process: they are skipped at the moment at which they start it.
"""

import multiprocessing.process
import platform
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

OMITTED_MARKERS = ("slow", "browser", "clients", "costly")
MAX_CASES = 3
MAX_EXAMPLES = 10
PROCESS_EVENTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
OMITTED_MODULE = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(OMITTED_MARKERS)})\b", re.MULTILINE)


def evenly_spaced(length: int, count: int) -> set[int]:
    """`count` (2 or more) indices below `length`: the first, the last and evenly spaced ones; all of fewer."""
    if length <= count:
        return set(range(length))
    return {step * (length - 1) // (count - 1) for step in range(count)}


def thin_cases(items: list[pytest.Item], count: int) -> list[pytest.Item]:
    """At most `count` cases of each test function, in the order of `items`."""
    by_function: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_function.setdefault(item.nodeid.partition("[")[0], []).append(item)
    selected = {cases[index] for cases in by_function.values() for index in evenly_spaced(len(cases), count)}
    return [item for item in items if item in selected]


def limit_examples(item: pytest.Item) -> None:
    """Lower the number of examples of a property test or of a state machine to `MAX_EXAMPLES`."""
    function = getattr(item, "function", None)
    test_case = getattr(getattr(item, "parent", None), "obj", None)
    # Hypothesis has no public way to change the settings of a decorated test.
    for owner, name in ((function, "_hypothesis_internal_use_settings"), (test_case, "settings")):
        declared = getattr(owner, name, None)
        if isinstance(declared, settings) and declared.max_examples > MAX_EXAMPLES:
            setattr(owner, name, settings(declared, max_examples=MAX_EXAMPLES))


class QuickSelection:
    """Hooks that are registered with `--quick`.

    `is_running`: True while a test or one of its fixtures runs; only then does the start of a process skip a test.
    """

    def __init__(self) -> None:
        self.is_running = False
        self.is_active = True
        self._profile = settings.get_current_profile_name()
        self._start_process = multiprocessing.process.BaseProcess.start
        platform.processor()  # runs `uname` once; client libraries call it
        sys.addaudithook(self.audit)  # audit hooks cannot be removed: `is_active` ends this one

        def start(process: multiprocessing.process.BaseProcess) -> None:
            self.skip_process()
            self._start_process(process)

        multiprocessing.process.BaseProcess.start = start  # type: ignore[method-assign]  # no audit event for "spawn"

    def close(self) -> None:
        """Allow processes and all examples again."""
        self.is_active = False
        settings.load_profile(self._profile)
        multiprocessing.process.BaseProcess.start = self._start_process  # type: ignore[method-assign]

    def skip_process(self) -> None:
        """Skip the test that is running. A thread other than the main one cannot: its process starts."""
        if self.is_active and self.is_running and threading.current_thread() is threading.main_thread():
            pytest.skip("starts a process")

    def audit(self, event: str, _arguments: tuple[Any, ...]) -> None:
        """Called by the interpreter for every audit event."""
        if event in PROCESS_EVENTS:
            self.skip_process()

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Do not import a module whose tests are all omitted."""
        is_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
        return True if is_test and OMITTED_MODULE.search(collection_path.read_text(encoding="utf-8")) else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Select tests and limit examples."""
        unmarked = [item for item in items if not any(item.get_closest_marker(name) for name in OMITTED_MARKERS)]
        selected = thin_cases(unmarked, MAX_CASES)
        for item in selected:
            limit_examples(item)
        selected_set = set(selected)
        config.hook.pytest_deselected(items=[item for item in items if item not in selected_set])
        items[:] = selected

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Any:
        """Note that a test runs."""
        self.is_running = True
        try:
            return (yield)
        finally:
            self.is_running = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--quick`."""
    parser.addoption("--quick", action="store_true", help="run the tests of an inner loop (see CONTRIBUTING.md)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the selection, in every worker."""
    if config.getoption("--quick"):
        selection = QuickSelection()
        config.pluginmanager.register(selection, "quick_selection_hooks")
        config.add_cleanup(selection.close)
        settings.register_profile("quick", settings.default, max_examples=MAX_EXAMPLES)
        settings.load_profile("quick")
