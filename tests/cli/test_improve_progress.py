"""`turnwise improve`: a cycle from the command line, its progress, and the list of cycles."""

import json
from io import StringIO

import pytest
from rich.console import Console

from improvement_samples import write_cycle
from turnwise.cli.improve_progress import ConsoleProgress
from turnwise.training.hooks import StepReport


@pytest.mark.costly
def test_a_cycle_without_feedback_says_what_is_missing(turnwise):
    code, out, err = turnwise("improve", "--once", "--model", "tiny")
    assert (code, out) == (0, "There is feedback on 0 new answers; a cycle needs 8.\n")
    assert err == "Read and check the feedback …\n"
    _, out, _ = turnwise("improve", "status", "--model", "tiny", "--json")
    (cycle,) = json.loads(out)
    assert (cycle["number"], cycle["outcome"]) == (1, "nothing to learn")


@pytest.mark.costly
def test_a_dry_run_changes_nothing(turnwise, tmp_path):
    code, out, _ = turnwise("improve", "--dry-run", "--model", "tiny")
    assert code == 0
    assert out.endswith("There is feedback on 0 new answers; a cycle needs 8.\nNothing was changed.\n")
    assert not (tmp_path / "home" / "improve").exists()


def test_the_list_has_the_reason_of_each_cycle(turnwise, tmp_path):
    assert "There was no cycle yet." in turnwise("improve", "status", "--model", "shop")[1]
    write_cycle(tmp_path / "home" / "improve", "shop", version=2)
    write_cycle(tmp_path / "home" / "improve", "shop", outcome=None)
    out = turnwise("improve", "status", "--model", "shop")[1]
    assert "It improved." in out
    assert "after select" in out.replace("\n", " ")


@pytest.mark.parametrize("arguments", [["--every", "soon"], ["--once", "--after", "3"], ["--canary", "12"]])
def test_bad_options_are_one_line(turnwise, arguments):
    code, _, err = turnwise("improve", *arguments)
    assert code == 2
    assert err.startswith("Error: ")
    assert err.count("\n") == 1


class TestProgress:
    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_each_step_is_a_line(self, is_terminal):
        text = StringIO()
        with ConsoleProgress(Console(file=text, force_terminal=is_terminal, width=100)) as progress:
            progress.on_step("replay", "Collect [replies]")
            progress.on_count("replies", 0, 0)
            progress.on_count("replies", 1, 2)
            progress.on_step("train", "Train")
            (hook,) = progress.trainer_hooks("model")
            hook.on_train_begin(total_steps=2, step=0)
            for step in (1, 2):
                hook.on_step_end(
                    StepReport(step=step, loss=1.0, learning_rate=0.1, grad_norm=1.0, useful_tokens=1, seconds=1.0)
                )
        lines = text.getvalue()
        assert "Collect [replies] …" in lines
        assert "Train …" in lines
        assert ("training steps" in lines) == is_terminal
        assert is_terminal or lines == "Collect [replies] …\nTrain …\n"

    def test_a_closed_terminal_does_not_end_the_cycle(self):
        class Closed(StringIO):
            def write(self, text):
                raise OSError("gone")

        with ConsoleProgress(Console(file=Closed())) as progress:
            progress.on_step("train", "Train")
            progress.on_count("training steps", 1, 2)
