"""`pytest --cpu-seconds N` counts the CPU time of a test with its fixtures, and no waiting."""

import re

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def listed(pytester, monkeypatch):
    """`listed(source, count)`: the tests that `--cpu-seconds count` lists, with their seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, count):
        pytester.makepyfile(source)
        output = pytester.runpytest_inprocess("-p", "cpu_seconds", "--cpu-seconds", count).stdout.str()
        return {
            name: float(seconds) for seconds, name in re.findall(r"^ *([\d.]+) s  \S+::(\S+)$", output, re.MULTILINE)
        }

    return run


SOURCE = """
    import pytest, time

    def compute(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end: pass

    @pytest.fixture
    def prepared(): compute(0.08)

    def test_waits(): time.sleep(0.1)
    def test_computes(): compute(0.04)
    def test_has_a_costly_fixture(prepared): pass
"""


def test_the_most_expensive_tests_are_listed_first(listed):
    assert list(listed(SOURCE, 2)) == ["test_has_a_costly_fixture", "test_computes"]


def test_time_in_which_a_test_waits_does_not_count(listed):
    seconds = listed(SOURCE, 3)
    assert seconds["test_waits"] < seconds["test_computes"]
