"""Which tests `pytest --quick` runs, shown on small test files in a session of their own."""

import multiprocessing.process
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quick_selection
from quick_selection import MAX_CASES, MAX_EXAMPLES, OMITTED_MARKERS, evenly_spaced

pytest_plugins = ["pytester"]


@pytest.fixture
def run_quick(pytester, monkeypatch):
    """`run_quick(source)`: reports of the tests of `source`, run in this process with `--quick`."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, *options):
        pytester.makepyfile(source)
        pytester.makeini("[pytest]\nmarkers =\n" + "".join(f"  {name}\n" for name in OMITTED_MARKERS))
        return pytester.inline_run("-p", "quick_selection", "--quick", *options)

    return run


@given(length=st.integers(0, 300), count=st.integers(2, 20))
def test_evenly_spaced_indices_include_the_first_and_the_last(length, count):
    indices = evenly_spaced(length, count)
    assert len(indices) == min(length, count)
    assert not length or {0, length - 1} <= indices <= set(range(length))


@given(length=st.integers(3, 300), count=st.integers(2, 20))
def test_gaps_between_indices_differ_by_at_most_one(length, count):
    indices = sorted(evenly_spaced(length, count))
    gaps = [after - before for before, after in pairwise(indices)]
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("marker", OMITTED_MARKERS)
def test_marked_tests_are_left_out(run_quick, marker):
    outcome = run_quick(f"import pytest\n\n@pytest.mark.{marker}\ndef test_a(): pass\n\ndef test_b(): pass")
    assert [report.nodeid.split("::")[1] for report in outcome.listoutcomes()[0]] == ["test_b"]


@pytest.mark.parametrize("marker", OMITTED_MARKERS)
def test_a_module_of_marked_tests_is_not_imported(run_quick, marker):
    outcome = run_quick(f"import pytest\npytestmark = pytest.mark.{marker}\nraise RuntimeError")
    assert outcome.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_first_last_and_middle_cases_of_each_function_run(run_quick):
    source = """
        import pytest

        @pytest.mark.parametrize("case", range(9))
        class TestCases:
            def test_a(self, case): pass
            def test_b(self, case): pass

        def test_c(): pass
    """
    passed = [report.nodeid.split("::", 1)[1] for report in run_quick(source).listoutcomes()[0]]
    cases = [f"TestCases::test_{name}[{case}]" for name in "ab" for case in (0, 4, 8)]
    assert sorted(passed) == [*cases, "test_c"]
    assert MAX_CASES == 3


def test_property_tests_and_state_machines_run_few_examples(run_quick):
    source = """
        from hypothesis import given, settings, strategies as st
        from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

        numbers = {"default": 0, "declared": 0, "in a class": 0, "machine": 0}

        @given(st.integers())
        def test_default(n): numbers["default"] += 1

        @settings(max_examples=80)
        @given(st.integers())
        def test_declared(n): numbers["declared"] += 1

        class TestClass:
            @given(n=st.integers())
            @settings(max_examples=80)
            def test_method(self, n): numbers["in a class"] += 1

        class Machine(RuleBasedStateMachine):
            @initialize()
            def begin(self): numbers["machine"] += 1
            @rule()
            def step(self): pass

        TestMachine = Machine.TestCase
        TestMachine.settings = settings(max_examples=80, deadline=None)

        def test_numbers_of_examples(): assert all(0 < n <= %d for n in numbers.values()), numbers
    """
    run_quick(source % MAX_EXAMPLES).assertoutcome(passed=5)


PROCESSES = {
    "a command": "subprocess.run([sys.executable, '--version'])",
    "a fork": "os.fork() or os._exit(0)",
    "a forked worker": "multiprocessing.get_context('fork').Process(target=print).start()",
    "a spawned worker": "multiprocessing.get_context('spawn').Process(target=print).start()",
}


@pytest.mark.parametrize("start", PROCESSES.values(), ids=PROCESSES)
def test_a_test_that_starts_a_process_is_skipped(run_quick, start):
    source = f"""
        import multiprocessing, os, pytest, subprocess, sys

        @pytest.fixture
        def process(): {start}

        def test_call(): {start}
        def test_setup(process): pass
        def test_other(): pass
    """
    run_quick(source).assertoutcome(passed=1, skipped=2)


def test_the_name_of_the_processor_needs_no_process(run_quick):
    run_quick("import platform\n\ndef test_a(): assert platform.platform()").assertoutcome(passed=1)


@pytest.mark.costly  # a session with --quick limits them itself
def test_processes_and_examples_are_not_limited_after_the_session(run_quick):
    before = multiprocessing.process.BaseProcess.start, settings.default
    run_quick("def test_a(): pass")
    assert (multiprocessing.process.BaseProcess.start, settings.default) == before


def test_the_marker_of_a_whole_module_is_recognized_on_a_line_of_its_own():
    pattern = quick_selection.OMITTED_MODULE
    assert pattern.search("import pytest\npytestmark = pytest.mark.slow  # blocks\n")
    assert not pattern.search("import pytest\npytestmark = pytest.mark.slow_start\n    pytestmark = pytest.mark.slow\n")
    assert not pattern.search("pytestmark = pytest.mark.timeout(60)\n")
