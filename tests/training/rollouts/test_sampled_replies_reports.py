"""The model card of a run on sampled replies, and the expected time and memory before it."""

from dataclasses import replace

import pytest
from rich.console import Console

from turnwise.cli.train_output import print_preflight
from turnwise.training.hooks import TrainingResult
from turnwise.training.launch.model_card import model_card
from turnwise.training.launch.preflight import PreflightReport

REASON = "Fewer replies pass the gates: 60% before, 40% now."
RESULT = TrainingResult(
    steps=8, best_step=4, stopped_early=False, seconds=3.0, useful_tokens=900, valid_before=2.0, valid_after=1.9,
    test_before=None, test_after=None, extra_metrics={"gate_pass": 0.425, "chrf": 31.5}, stop_reason=REASON,
    reply_metrics_before={"gate_pass": 0.625, "chrf": 30.25},
)  # fmt: skip


def card(result, recipe):
    changed = recipe(objective="spin")
    return model_card(changed, result, parameters=10, num_trainable=10, train_tokens=100)


def test_it_says_why_a_guard_ended_the_run(recipe):
    assert f"A guard ended the run: {REASON}" in card(RESULT, recipe)
    assert "guard" not in card(replace(RESULT, stop_reason=None, reply_metrics_before={}), recipe).lower()


def test_it_has_the_figures_of_the_guards_before_and_after(recipe):
    text = card(RESULT, recipe)
    assert "| share that passes all gates | 0.625 | 0.425 |" in text
    assert "| chrF against the human replies, 0 to 100 | 30.250 | 31.500 |" in text


@pytest.mark.parametrize(("objective", "is_told"), [("spin", True), ("sft", False)])
def test_the_expected_time_and_memory_are_said_to_be_without_sampling(objective, is_told, recipe):
    report = PreflightReport(
        num_parameters=10, num_trainable=10, tokens_per_second=100.0, tokens_per_row=20.0, peak_memory=10**9,
        micro_batch_size=1, rows_per_epoch=10, packing_efficiency=1.0, examples=(),
    )  # fmt: skip
    console = Console(record=True, width=400)
    print_preflight(console, recipe(objective=objective), report)
    text = console.export_text()
    assert "without validation" in text
    assert ("without sampling replies" in text) == is_told
    assert ("without the engine that samples" in text) == is_told
