"""Shards on disk, repeats and weights of sources, rows without packing, and the example cache."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from hooks import KillingHook, RecordingHook
from hypothesis import given, settings
from hypothesis import strategies as st
from training_dialogues import small_talk, write_chats

from turnwise.core.errors import InvalidParameter
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.batches import collate
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.example import Example
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.packing import bucket_by_length
from turnwise.training.examples.shards import in_memory_shard, open_shard, write_shard
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import parse_recipe

CPU = torch.device("cpu")


def examples(count, seed=0):
    """Examples of all kinds: plain, weighted, with segments, labels or encoder input."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        size = int(rng.integers(3, 40))
        ids = rng.integers(6, 500, size).astype(np.int32)
        kind = number % 4
        plain = Example.causal(ids, rng.random(size) < 0.7, units=float(number % 3 + 1))
        if kind == 1:
            plain = Example.causal(ids, [True] * size, 1.0, rng.random(size).astype(np.float32))
        elif kind == 2:
            labels = {"rating": np.array([1.0, -2.0], np.float32)}
            plain = Example(plain.ids, plain.targets, segment_lengths=(2, size - 2), segment_labels=labels)
        elif kind == 3:
            plain = Example(plain.ids, plain.targets, encoder_ids=ids[:2].copy())
        yield plain


def same(first, second):
    def alike(a, b):
        return (a is None) == (b is None) and (a is None or np.array_equal(a, b))

    arrays = all(alike(getattr(first, n), getattr(second, n)) for n in ("ids", "targets", "weights", "encoder_ids"))
    labels = alike(first.segment_labels.get("rating"), second.segment_labels.get("rating"))
    return arrays and labels and (first.units, first.segment_lengths) == (second.units, second.segment_lengths)


class TestShards:
    @pytest.mark.parametrize("count", [0, 1, 50])
    def test_examples_are_equal_from_memory_and_from_disk(self, tmp_path, count):
        originals = list(examples(count))
        for shard in (
            in_memory_shard(originals),
            write_shard(tmp_path / "shard", originals),
            open_shard(tmp_path / "shard"),
        ):
            assert len(shard) == count
            assert all(same(loaded, example) for loaded, example in zip(shard, originals, strict=True))
            assert shard.tokens == sum(e.size + (0 if e.encoder_ids is None else len(e.encoder_ids)) for e in originals)

    def test_reference_log_probs_are_stored_beside_the_examples(self, tmp_path):
        shard = write_shard(tmp_path / "shard", examples(3))
        assert shard[1].ref_logprobs == ()
        shard.save_ref_logprobs(np.array([[1, 2], [3, 4], [5, 6]], np.float32))
        assert open_shard(tmp_path / "shard")[1].ref_logprobs == (3.0, 4.0)

    def test_examples_are_written_one_at_a_time(self, tmp_path):
        """So data may be larger than memory."""
        alive = []

        def counted():
            for example in examples(20):
                alive.append(1)
                yield example
                alive.pop()

        def watching():
            for example in counted():
                assert len(alive) == 1
                yield example

        write_shard(tmp_path / "shard", watching())


def dataset(sizes, repeats, seed=3):
    frame = ExampleContext(None, 64)
    shards = [in_memory_shard(Example.causal([9] * 8, [True] * 8) for _ in range(size)) for size in sizes]
    return Dataset(shards, OBJECTIVES.parse_plugin("clm"), frame, seed=seed, repeats=repeats)


class TestRepeats:
    @given(
        st.lists(
            st.tuples(st.integers(1, 12), st.sampled_from([0.25, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0])), min_size=1, max_size=4
        ),
        st.integers(1, 6),
    )
    @settings(max_examples=60, deadline=None)
    def test_every_example_is_used_equally_often_over_epochs(self, sources, epochs):
        sizes, repeats = zip(*sources, strict=True)
        data = dataset(sizes, repeats)
        shown = Counter(int(index) for epoch in range(epochs) for index in data.epoch_indices(epoch))
        start = 0
        for size, times in sources:
            counts = [shown[index] for index in range(start, start + size)]
            assert sum(counts) == int(epochs * times * size)
            assert max(counts) - min(counts) <= 1  # none twice before all once
            start += size

    def test_a_repeat_of_one_half_alternates_between_halves(self):
        data = dataset([10], [0.5])
        first, second = (set(data.epoch_indices(epoch).tolist()) for epoch in (0, 1))
        assert len(first) == len(second) == 5
        assert not first & second

    @pytest.mark.costly
    def test_weights_are_proportional_to_tokens(self, tmp_path, tokenizer, untrained):
        long = write_chats(tmp_path / "long.jsonl", [[f"{q} " * 4, f"{a} " * 4] for q, a, *_ in small_talk(40)])
        short = write_chats(tmp_path / "short.jsonl", small_talk(200))
        train = [{"path": str(long), "weight": 1}, {"path": str(short), "weight": 3}]
        recipe_values = {"model": {"from": "x"}, "data": {"train": train, "valid_fraction": 0}, "out": "x"}
        recipe = parse_recipe({**recipe_values, "training": {"max_seq_len": 128}}, origin="test")
        data = load_datasets(recipe, Renderer.from_tokenizer(tokenizer), untrained).train
        tokens = [0, 0]
        for epoch in range(8):
            for index in data.epoch_indices(epoch):
                shard = int(index >= len(data.shards[0]))
                tokens[shard] += data.example(int(index)).size
        assert tokens[1] / tokens[0] == pytest.approx(3, rel=0.05)
        assert max(data.repeats) == 1.0

    @pytest.mark.parametrize(
        ("train", "says"),
        [
            ([{"path": "a", "weight": 1}, {"path": "b"}], "a 'weight' for every training source, or for none"),
            ([{"path": "a", "weight": 1, "repeat": 2}], "use only one of them"),
            ([{"path": "a", "weight": 0}], "greater than 0"),
        ],
    )
    def test_invalid_weights_and_repeats_are_rejected(self, train, says):
        with pytest.raises(InvalidParameter, match=says):
            parse_recipe({"model": {"from": "x"}, "data": {"train": train}, "out": "x"}, origin="test")


class TestRowsWithoutPacking:
    @given(st.lists(st.integers(1, 200), max_size=60), st.integers(1, 9), st.integers(0, 99))
    @settings(max_examples=60, deadline=None)
    def test_every_example_is_in_exactly_one_row(self, lengths, group, seed):
        rows = bucket_by_length(lengths, group, seed=seed)
        assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
        assert all(len(row) == 1 for row in rows)

    def test_rows_of_a_micro_batch_have_similar_lengths(self):
        rng = np.random.default_rng(0)
        lengths = rng.integers(5, 400, 512).tolist()
        rows = [lengths[row[0]] for row in bucket_by_length(lengths, 8, seed=1)]
        waste = sum(max(rows[i : i + 8]) * 8 - sum(rows[i : i + 8]) for i in range(0, 512, 8)) / sum(rows)
        assert waste < 0.05
        assert rows[:64] != sorted(rows[:64])

    def test_encoder_inputs_are_padded_to_the_longest(self):
        short, long = (Example.causal([7, 8], [True, True]) for _ in range(2))
        object.__setattr__(short, "encoder_ids", np.array([1], np.int32))
        object.__setattr__(long, "encoder_ids", np.array([1, 2, 3], np.int32))
        batch = collate([[short], [long]], pad_id=9)
        assert batch.encoder_ids_BS.tolist() == [[1, 9, 9], [1, 2, 3]]
        assert batch.encoder_mask_BS.tolist() == [[1, 0, 0], [1, 1, 1]]
        assert batch.num_tokens == 4 + 4


class TestExampleCache:
    """A resumed run reuses its examples, unless the files have changed."""

    @pytest.fixture
    def killed(self, values, no_loss_plot, one_thread):
        recipe = parse_recipe(values, origin="test")
        with pytest.raises(RuntimeError):
            run_recipe(recipe, device=CPU, hooks=[KillingHook(at=3)])
        return recipe

    @pytest.mark.costly
    def test_a_resumed_run_parses_no_data_again(self, killed):
        hook = RecordingHook()
        run_recipe(killed, device=CPU, hooks=[hook])
        assert hook.num_rows == 0

    @pytest.mark.costly
    def test_a_changed_file_is_parsed_again(self, killed, values, tmp_path):
        hook = RecordingHook()
        info = tmp_path / "out.partial" / "data" / "info.json"
        info.write_text(json.dumps({**json.loads(info.read_text()), "key": "of other files"}))
        run_recipe(killed, device=CPU, hooks=[hook])
        assert hook.num_rows == 48

    @pytest.mark.costly
    def test_the_result_has_the_packing_efficiency(self, values, no_loss_plot, one_thread, tmp_path):
        run_recipe(parse_recipe(values, origin="test"), device=CPU)
        assert 0.5 < json.loads((tmp_path / "out" / "result.json").read_text())["packing_efficiency"] <= 1
