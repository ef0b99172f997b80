"""Packing and batches: rows are full, no token is lost, and dialogues in a row do not attend to each other."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_reference.cross_entropy import summed_cross_entropy
from turnwise.models.checkpoint import create
from turnwise.models.packed_segments import segment_mask
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.examples.packing import WINDOW, pack_sequences

lengths_and_row = st.integers(1, 64).flatmap(
    lambda row: st.tuples(st.lists(st.integers(1, row), max_size=60), st.just(row))
)


def example(ids, counts=None, replies=1):
    counts = [True] * len(ids) if counts is None else counts
    return Example.causal(ids, counts, replies)


def some_dialogues(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [example(rng.integers(6, 500, n), rng.random(n) < 0.5) for n in lengths]


class TestRows:
    @settings(max_examples=50)
    @given(lengths_and_row, st.integers())
    def test_every_example_is_in_exactly_one_row(self, case, seed):
        lengths, max_seq_len = case
        rows = pack_sequences(lengths, max_seq_len, seed=seed)
        assert sorted(index for row in rows for index in row) == list(range(len(lengths)))

    @settings(max_examples=50)
    @given(lengths_and_row, st.integers())
    def test_no_row_exceeds_the_length_and_none_is_empty(self, case, seed):
        lengths, max_seq_len = case
        assert all(
            0 < sum(lengths[i] for i in row) <= max_seq_len for row in pack_sequences(lengths, max_seq_len, seed=seed)
        )

    @settings(max_examples=50)
    @given(lengths_and_row, st.integers())
    def test_the_rows_depend_only_on_the_seed(self, case, seed):
        first = pack_sequences(*case, seed=seed)
        random.random()
        assert pack_sequences(*case, seed=seed) == first

    def test_another_seed_gives_another_order(self):
        assert pack_sequences([5] * 50, 20, seed=0) != pack_sequences([5] * 50, 20, seed=1)

    @pytest.mark.parametrize("count", [300, WINDOW + 700])
    def test_rows_are_full(self, count):
        """Realistic lengths: log-normal around 90 tokens, rows of 512."""
        lengths = np.random.default_rng(0).lognormal(4.5, 0.7, count).astype(int).clip(4, 512).tolist()
        rows = pack_sequences(lengths, 512, seed=0)
        waste = 1 - sum(lengths) / (len(rows) * 512)
        assert waste < 0.03

    def test_an_example_longer_than_a_row_fails_an_assertion(self):
        with pytest.raises(AssertionError):
            pack_sequences([9], 8, seed=0)


class TestWindows:
    def test_an_example_that_fits_is_not_split(self):
        short = example([1, 2, 3], replies=2)
        assert list(short.split_windows(3)) == [short]

    def test_a_long_example_is_split_without_losing_an_id(self):
        pieces = list(example(range(1, 24)).split_windows(8))
        assert [len(piece.ids) for piece in pieces] == [8, 8, 7]
        assert np.concatenate([piece.ids for piece in pieces]).tolist() == list(range(1, 24))

    def test_windows_without_a_target_are_dropped(self):
        counts = [False] * 8 + [True] + [False] * 7 + [False, True]
        pieces = list(example(range(18), counts).split_windows(8))
        assert [piece.ids.tolist() for piece in pieces] == [list(range(8)), [16, 17]]  # the first predicts the ninth id
        assert not list(example([1, 2, 3], [True, False, False]).split_windows(8))

    def test_units_are_counted_in_each_window(self):
        """The border at 8 splits the second of two replies, which counts in both windows."""
        counts = [False, True, True, False, False, False, True, True, True, True, True, False]
        pieces = list(example(range(12), counts, replies=2).split_windows(8))
        assert [piece.units for piece in pieces] == [2, 1]

    def test_an_unpredicted_first_token_is_no_unit(self):
        """The second window begins with the last token of the first reply, which is not predicted there."""
        counts = [False, False, True, True, True, False, True, True]
        pieces = list(example(range(8), counts, replies=2).split_windows(4))
        assert [piece.units for piece in pieces] == [1, 1]


class TestBatches:
    def test_targets_are_the_next_ids_under_the_mask(self):
        batch = collate([[example([7, 8, 9], [True, False, True])]], pad_id=0)
        assert batch.targets_BT.tolist() == [[IGNORED, 9, IGNORED]]

    def test_no_target_crosses_into_the_next_dialogue(self):
        batch = collate([[example([1, 2]), example([3, 4, 5])]], pad_id=0)
        assert batch.targets_BT.tolist() == [[2, IGNORED, 4, 5, IGNORED]]

    def test_positions_restart_with_every_dialogue(self):
        batch = collate([[example([1, 2]), example([3, 4, 5])], [example([6])]], pad_id=0)
        assert batch.positions_BT.tolist() == [[0, 1, 0, 1, 2], [0, 0, 0, 0, 0]]

    def test_padding_is_not_counted(self):
        batch = collate([[example([1, 2, 3])], [example([4])]], pad_id=9, length=5)
        assert batch.ids_BT.tolist() == [[1, 2, 3, 9, 9], [4, 9, 9, 9, 9]]
        assert (batch.num_tokens, batch.target_weight) == (4, 2)

    def test_units_of_a_batch_add_up(self):
        assert (
            collate([[example([1, 2], replies=2), example([3, 4])], [example([5, 6], replies=3)]], pad_id=0).units == 6
        )

    def test_a_token_attends_to_earlier_tokens_of_its_own_dialogue_only(self):
        batch = collate([[example([1, 2]), example([3, 4])]], pad_id=0, length=5)
        mask = segment_mask(batch.segment_ids_BT, batch.positions_BT)[0, 0]
        assert mask.int().tolist() == [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 0, 1, 1, 0],
            [0, 0, 0, 0, 1],  # padding attends to itself, because softmax over nothing is NaN
        ]


@torch.inference_mode()
def test_packed_logits_are_those_of_each_dialogue_alone(tiny_model):
    model = tiny_model.decoder
    dialogues = some_dialogues([11, 5, 30, 2, 17, 9])
    rows = pack_sequences([len(d.ids) for d in dialogues], 40, seed=3)
    batch = collate([[dialogues[i] for i in row] for row in rows], pad_id=0)
    mask = segment_mask(batch.segment_ids_BT, batch.positions_BT)
    hidden_BTC = model(batch.ids_BT, positions_BT=batch.positions_BT, mask=mask)
    logits_BTV = model.logits(hidden_BTC)
    for r, row in enumerate(rows):
        for s, index in enumerate(row, 1 + sum(map(len, rows[:r]))):
            alone_TV = model.logits(model(torch.from_numpy(dialogues[index].ids[None].astype(np.int64))))[0]
            packed_TV = logits_BTV[r][batch.segment_ids_BT[r] == s]
            torch.testing.assert_close(packed_TV, alone_TV, atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [None, 8, 64])
def test_attention_by_segments_equals_a_mask_also_in_its_gradients(tiny_config, one_thread, window):
    """On a CPU packed rows are computed segment by segment, unless a sliding window is shorter than a segment."""
    windowed = replace(tiny_config, sliding_window=window, windowed_layers=frozenset({0} if window else ()))
    model = create(windowed, seed=0)
    dialogues = some_dialogues([11, 5, 30, 2, 17, 9])
    rows = pack_sequences([len(d.ids) for d in dialogues], 40, seed=3)
    batch = collate([[dialogues[i] for i in row] for row in rows], pad_id=0)
    is_token_BT = batch.segment_ids_BT > 0

    def hidden_and_gradients(compute):
        model.module.zero_grad()
        hidden_NC = compute()
        hidden_NC.square().sum().backward()
        return hidden_NC.detach(), [parameter.grad.clone() for parameter in model.module.layers.parameters()]

    hidden, gradients = hidden_and_gradients(
        lambda: model.hidden_states(
            batch.ids_BT, is_token_BT, segment_ids_BT=batch.segment_ids_BT, positions_BT=batch.positions_BT
        )
    )
    mask = segment_mask(batch.segment_ids_BT, batch.positions_BT)
    masked, masked_gradients = hidden_and_gradients(
        lambda: model.decoder(batch.ids_BT, positions_BT=batch.positions_BT, mask=mask)[is_token_BT]
    )
    torch.testing.assert_close(hidden, masked, atol=1e-5, rtol=1e-5)
    for gradient, expected in zip(gradients, masked_gradients, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-4)


def test_packed_loss_is_the_sum_of_each_dialogue_alone(tiny_model):
    model = tiny_model.decoder
    dialogues = some_dialogues([11, 5, 30])

    def loss(rows):
        batch = collate(rows, pad_id=0)
        mask = segment_mask(batch.segment_ids_BT, batch.positions_BT)
        return summed_cross_entropy(
            model, batch.ids_BT, batch.targets_BT, positions_BT=batch.positions_BT, mask=mask
        ).item()

    assert loss([dialogues]) == pytest.approx(sum(loss([[d]]) for d in dialogues), rel=1e-6)
