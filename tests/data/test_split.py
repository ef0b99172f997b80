"""Splitting: a stable partition that keeps duplicates in the same split."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import read_source
from turnwise.data.split import write_split

SPLIT_NAMES = ("train", "valid", "test")


def chat(text: str, **meta) -> Conversation:
    return Conversation((Message("user", text), Message("assistant", "ok")), meta)


def texts(folder, split) -> list[str]:
    return [item.messages[0].content for item in read_source(folder / f"{split}.jsonl", format="openai")]


def split_of(folder, items, **options) -> dict[str, str]:
    """Return the split by text."""
    write_jsonl(folder / "in.jsonl", items)
    write_split(folder / "in.jsonl", folder / "out", **{"valid": 0.2, "test": 0.2, **options})
    return {text: split for split in SPLIT_NAMES for text in texts(folder / "out", split)}


words = st.lists(st.text("abcdefghij", min_size=1, max_size=8), unique=True, min_size=2, max_size=30)


@settings(max_examples=15, deadline=None)
@given(words, st.integers(0, 5))
def test_every_row_is_in_exactly_one_split(tmp_path_factory, contents, seed):
    folder = tmp_path_factory.mktemp("split")
    write_jsonl(folder / "in.jsonl", map(chat, contents))
    summary = write_split(folder / "in.jsonl", folder / "out", valid=0.3, test=0.3, seed=seed)
    splits = [text for split in SPLIT_NAMES for text in texts(folder / "out", split)]
    assert sorted(splits) == sorted(contents)
    assert summary.train + summary.valid + summary.test == len(contents)


@settings(max_examples=15, deadline=None)
@given(words, words)
def test_rows_added_later_do_not_move_earlier_rows(tmp_path_factory, first, later):
    folder = tmp_path_factory.mktemp("split")
    before = split_of(folder, map(chat, first))
    after = split_of(folder, map(chat, [*later, *first]))
    assert before.items() <= after.items()


@settings(max_examples=15, deadline=None)
@given(words)
def test_near_duplicates_are_in_the_same_split(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("split")
    disguised = [chat(f"  {text.upper()}!! ") for text in contents]
    prompted = [
        Conversation((Message("system", "s"), Message("user", f"{text}."), Message("assistant", "ok")))
        for text in contents
    ]
    write_jsonl(folder / "in.jsonl", [*map(chat, contents), *disguised, *prompted])
    write_split(folder / "in.jsonl", folder / "out", valid=0.3, test=0.3)
    for split in SPLIT_NAMES:
        items = list(read_source(folder / "out" / f"{split}.jsonl", format="openai"))
        plain = sorted(
            next(m.content for m in item.messages if m.role == "user").strip(" !.").lower() for item in items
        )
        assert all(plain.count(text) == 3 for text in plain)


def test_the_shares_are_approximate_and_depend_on_the_seed(tmp_path):
    items = [chat(f"question {n}") for n in range(2000)]
    first = split_of(tmp_path, items, valid=0.1, test=0.2)
    assert abs(sum(split == "valid" for split in first.values()) - 200) < 60
    assert abs(sum(split == "test" for split in first.values()) - 400) < 80
    assert split_of(tmp_path, items, valid=0.1, test=0.2, seed=1) != first


def test_a_group_is_in_one_split(tmp_path):
    items = [chat(f"{n} {group}", customer=group) for group in range(40) for n in range(3)]
    splits = split_of(tmp_path, items, group_by="customer")
    assert set(splits.values()) == set(SPLIT_NAMES)
    for group in range(40):
        assert len({splits[f"{n} {group}"] for n in range(3)}) == 1


def test_a_conversation_in_two_groups_is_in_one_split(tmp_path):
    items = [chat("same", customer=group) for group in range(40)]
    assert len(split_of(tmp_path, items, group_by="customer")) == 1
    assert sum(bool(texts(tmp_path / "out", split)) for split in SPLIT_NAMES) == 1


def test_a_missing_group_key_error_names_the_row_and_its_metadata_keys(tmp_path):
    with pytest.raises(InvalidData, match=r"in.jsonl, line 1: this row has no metadata key 'topic'.*metadata has lang"):
        split_of(tmp_path, [chat("a", lang="en")], group_by="topic")
    assert not (tmp_path / "out").exists()


def test_the_summary_records_how_to_reproduce_the_split(tmp_path):
    split_of(tmp_path, [chat(str(n)) for n in range(50)], seed=4)
    summary = json.loads((tmp_path / "out" / "split.json").read_text())
    assert summary["seed"] == 4
    assert summary["train"] + summary["valid"] + summary["test"] == 50
    assert list(summary["input_sha256"]) == ["in.jsonl"]
    assert len(summary["input_sha256"]["in.jsonl"]) == 64


def test_metadata_is_kept(tmp_path):
    split_of(tmp_path, [chat("a", topic="x")], valid=0, test=0)
    (item,) = read_source(tmp_path / "out" / "train.jsonl")
    assert item == chat("a", topic="x")


def test_a_bad_row_stops_the_split_without_output_unless_skipped(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", [chat("a"), chat("b")])
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("oops\n")
    with pytest.raises(InvalidData, match="line 3"):
        write_split(tmp_path / "in.jsonl", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    summary = write_split(tmp_path / "in.jsonl", tmp_path / "out", skip_bad_rows=True)
    assert summary.bad_rows == 1
    assert summary.train + summary.valid + summary.test == 2


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", [chat("a")])
    with pytest.raises(InvalidData, match="holds other files"):
        write_split(tmp_path / "in.jsonl", tmp_path)
    (tmp_path / "in.jsonl").rename(tmp_path / "train.jsonl")
    with pytest.raises(InvalidData, match="holds the input data"):
        write_split(tmp_path / "train.jsonl", tmp_path)
    with pytest.raises(InvalidData, match="is a file"):
        write_split(tmp_path / "train.jsonl", tmp_path / "train.jsonl")
    assert texts(tmp_path, "train") == ["a"]


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0), (0.5, 0.5), (0, 2), (float("nan"), 0)])
def test_shares_out_of_range_are_rejected(tmp_path, valid, test):
    write_jsonl(tmp_path / "in.jsonl", [chat("a")])
    with pytest.raises(InvalidParameter, match="sum to less than 1"):
        write_split(tmp_path / "in.jsonl", tmp_path / "out", valid=valid, test=test)


def test_no_usable_row_writes_nothing(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(InvalidData, match="no usable row"):
        write_split(tmp_path / "in.jsonl", tmp_path / "out", skip_bad_rows=True)
    assert not (tmp_path / "out").exists()
