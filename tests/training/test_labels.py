"""Objectives with labels instead of vocabulary targets: a scalar per text, and a class per token."""

import numpy as np
import pytest
import torch

from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.examples.shards import in_memory_shard, open_shard, write_shard
from turnwise.training.objective import LossOutput, Objective
from turnwise.training.objectives.clm import text_ids

SCORE = "score"


class ScalarObjective(Objective):
    """Regression of a scalar per text, the number of its messages, on the last hidden state."""

    UNIT = "text"

    def examples(self, item, context):
        score = np.array([len(item.messages)], np.float32)
        yield Example.labelled(text_ids(item, context)[: context.length], segment_labels={SCORE: score})

    def loss(self, model, batch, statistic=0.0):
        segment_ids_BT = batch.segment_ids_BT
        next_ids_BT = torch.nn.functional.pad(segment_ids_BT[:, 1:], (0, 1))
        is_last_BT = (segment_ids_BT > 0) & (segment_ids_BT != next_ids_BT)
        hidden_PC = model.hidden_states(
            batch.ids_BT, is_last_BT, segment_ids_BT=segment_ids_BT, positions_BT=batch.positions_BT
        )
        errors_P = hidden_PC.sum(dim=1) - batch.segment_labels[SCORE]
        return LossOutput(errors_P.square().sum())

    def loss_denominator(self, batch):
        return batch.units

    def metric_denominator(self, batch):
        return batch.units


def token_example(size, num_classes=3):
    return Example.labelled(
        range(6, 6 + size),
        token_labels={"entity": np.arange(size) % num_classes, "saliency": np.linspace(0, 1, size, dtype=np.float32)},
        segment_labels={"intent": np.array([size])},
    )


def same_labels(first, second):
    return all(
        first_labels.keys() == second_labels.keys()
        and all(np.array_equal(first_labels[name], second_labels[name]) for name in first_labels)
        for first_labels, second_labels in (
            (first.token_labels, second.token_labels),
            (first.segment_labels, second.segment_labels),
        )
    )


@pytest.mark.usefixtures("one_thread")
def test_an_objective_learns_a_scalar_per_text(trainer, recipe):
    run = trainer(recipe(objective=ScalarObjective(), max_steps=80, learning_rate=0.01, eval_steps=20))
    result = run.run()
    scores = run.data.valid.shards[0].segment_labels[SCORE]
    assert result.valid_after < 0.5 * scores.var() < result.valid_before  # the variance is the loss of a constant


@pytest.mark.usefixtures("no_loss_plot", "one_thread")
def test_a_complete_run_with_labels_can_be_resumed(recipe, tmp_path):
    from hooks import KillingHook

    from turnwise.training.launch.run_recipe import run_recipe

    scalar = recipe(objective=ScalarObjective(), out=str(tmp_path / "out"))
    with pytest.raises(RuntimeError, match="killed"):
        run_recipe(scalar, hooks=[KillingHook(at=3)], device=torch.device("cpu"))
    assert run_recipe(scalar, device=torch.device("cpu")).steps == 4


def test_labels_are_collated_by_token_and_by_segment():
    batch = collate([[token_example(2), token_example(3)], [token_example(4)]], pad_id=0)
    assert batch.token_labels["entity"].tolist() == [[0, 1, 0, 1, 2], [0, 1, 2, 0, IGNORED]]
    assert batch.token_labels["saliency"][1].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 0])
    assert batch.segment_labels["intent"].tolist() == [2, 3, 4]
    assert (batch.targets_BT == IGNORED).all()


def test_labels_are_equal_from_memory_and_from_disk(tmp_path):
    vector = Example.labelled([6, 7], segment_labels={"ratings": np.array([[0.5, 1, 2]], np.float32)})
    examples = [token_example(2), Example.causal([6, 7], [True, True]), token_example(5), vector]
    written = write_shard(tmp_path / "shard", examples)
    for shard in (in_memory_shard(examples), written, open_shard(tmp_path / "shard")):
        assert all(same_labels(loaded, example) for loaded, example in zip(shard, examples, strict=True))
        assert [example.has_targets for example in shard] == [True] * 4


def test_a_label_with_a_wrong_number_of_values_fails_an_assertion():
    with pytest.raises(AssertionError, match="'intent' has 2 values instead of 1"):
        in_memory_shard([Example.labelled([6, 7], segment_labels={"intent": np.array([1, 2])})])
