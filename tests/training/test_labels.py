"""Objectives with labels instead of vocabulary targets: a scalar per text, and a class per token."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.costly
@pytest.mark.usefixtures("one_thread")
def test_an_objective_learns_a_scalar_per_text(trainer, recipe):
    run = trainer(recipe(objective=ScalarObjective(), max_steps=80, learning_rate=0.01, eval_steps=20))
    result = run.run()
    scores = run.data.valid.shards[0].segment_labels[SCORE]
    assert result.valid_after < 0.5 * scores.var() < result.valid_before  # the variance is the loss of a constant


@pytest.mark.costly
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


WORDS = st.lists(st.lists(st.sampled_from([(1, 2, 3), (1, 2, 4), (0, 0, 0)]), min_size=1, max_size=4), max_size=5)


def word_example(features, dtype=np.uint8):
    return Example.labelled(range(len(features)), token_labels={"features": np.array(features, dtype).reshape(-1, 3)})


@given(WORDS, st.sampled_from([np.uint8, np.int32]))
def test_vectors_of_words_are_stored_once_and_read_back(sentences, dtype):
    examples = [word_example(features, dtype) for features in sentences]
    with tempfile.TemporaryDirectory() as folder:
        for shard in (in_memory_shard(examples), write_shard(Path(folder) / "shard", examples)):
            assert all(same_labels(loaded, example) for loaded, example in zip(shard, examples, strict=True))
            assert all(loaded.token_labels["features"].dtype == dtype for loaded in shard)


def test_repeated_words_take_four_bytes_per_token():
    sentence = word_example([(1, 2, 3), (4, 5, 6)] * 50)
    once, often = (in_memory_shard([sentence] * count) for count in (1, 20))
    assert label_bytes(often) - label_bytes(once) == 4 * 19 * 100
    assert label_bytes(once) == 4 * 100 + 2 * 3


def label_bytes(shard):
    """Size of the arrays of the labels."""
    return sum(array.nbytes for name, array in shard._arrays.items() if name.startswith("token_labels"))


def test_shards_with_other_rows_have_another_digest():
    digests = set()
    for features in ([(1, 2, 3)], [(1, 2, 4)], [(1, 2, 3), (1, 2, 3)], [(1, 2, 3), (1, 2, 4)]):
        digest = hashlib.sha256()
        in_memory_shard([word_example(features)]).digest(digest)
        digests.add(digest.hexdigest())
    assert len(digests) == 4


def test_a_label_with_a_wrong_number_of_values_fails_an_assertion():
    with pytest.raises(AssertionError, match="'intent' has 2 values instead of 1"):
        in_memory_shard([Example.labelled([6, 7], segment_labels={"intent": np.array([1, 2])})])
