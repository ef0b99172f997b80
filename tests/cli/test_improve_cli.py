"""`turnwise improve`: dry runs, schedules and flags."""

import json

import pytest
from typer.testing import CliRunner

from turnwise.cli import improve
from turnwise.cli.main import app
from turnwise.core.errors import InvalidParameter
from turnwise.improve.schedule import Schedule
from turnwise.training.stop_signals import TrainingInterrupted


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `turnwise improve` in an empty home, without masking."""
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    (tmp_path / "improve.yaml").write_text("masks_personal_data: false\n", encoding="utf-8")

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["improve", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


def test_a_dry_run_gives_the_reason_why_nothing_would_be_trained(run, tmp_path):
    assert "Would train nothing: There is feedback on 0 new answers; a cycle needs 8." in run(
        "--dry-run", "--model", "tiny"
    )
    assert json.loads(run("--dry-run", "--model", "tiny", "--json"))["stages"] == {}
    assert not (tmp_path / "improve").exists(), "nothing is written"


def test_a_cycle_without_feedback_is_listed(run):
    run("--once", "--model", "tiny")
    (journal,) = json.loads(run("status", "--model", "tiny", "--json"))
    assert journal["outcome"] == "nothing to learn"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--once", "--every", "24h"], "--once runs one cycle"),
        (["--dry-run", "--after", "5"], "--dry-run shows one cycle"),
        (["--model", "tiny", "status"], "--model before 'status' has no effect"),
        (["--json", "status"], "--json before 'status' has no effect"),
    ],
)
def test_flags_without_effect_are_errors(run, arguments, problem):
    with pytest.raises(InvalidParameter, match=problem):
        run(*arguments)


class Interrupted:
    """A cycle that is interrupted in every run; a signal comes in the run number `signal_at`."""

    model = "shop"

    def __init__(self, signal_at):
        self.runs, self.signal_at = 0, signal_at

    def last_start(self):
        return 0.0

    def stop(self):
        return self.runs >= self.signal_at

    def run(self):
        self.runs += 1
        raise TrainingInterrupted


def test_a_schedule_goes_on_after_the_time_limit_of_a_cycle_and_ends_at_a_signal(monkeypatch):
    monkeypatch.setattr("turnwise.improve.schedule.POLL_SECONDS", 0)
    cycle = Interrupted(signal_at=3)
    with pytest.raises(TrainingInterrupted):
        improve._run_scheduled(cycle, Schedule(interval=1e-9), as_json=False)
    assert cycle.runs == 3
