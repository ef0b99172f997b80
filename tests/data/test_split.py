"""Splitting: a partition that later rows never disturb, with repeats kept together."""

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


def texts(folder, side) -> list[str]:
    return [item.messages[0].content for item in read_source(folder / f"{side}.jsonl", format="openai")]


def split_of(folder, items, **how) -> dict[str, str]:
    """text → side."""
    write_jsonl(folder / "in.jsonl", items)
    write_split(folder / "in.jsonl", folder / "out", **{"valid": 0.2, "test": 0.2, **how})
    return {text: side for side in SPLIT_NAMES for text in texts(folder / "out", side)}


words = st.lists(st.text("abcdefghij", min_size=1, max_size=8), unique=True, min_size=2, max_size=30)


@settings(max_examples=15, deadline=None)
@given(words, st.integers(0, 5))
def test_every_row_lands_on_exactly_one_side(tmp_path_factory, said, seed):
    folder = tmp_path_factory.mktemp("split")
    write_jsonl(folder / "in.jsonl", map(chat, said))
    made = write_split(folder / "in.jsonl", folder / "out", valid=0.3, test=0.3, seed=seed)
    sides = [text for side in SPLIT_NAMES for text in texts(folder / "out", side)]
    assert sorted(sides) == sorted(said)
    assert made.train + made.valid + made.test == len(said)


@settings(max_examples=15, deadline=None)
@given(words, words)
def test_rows_added_later_do_not_move_the_others(tmp_path_factory, first, later):
    folder = tmp_path_factory.mktemp("split")
    before = split_of(folder, map(chat, first))
    after = split_of(folder, map(chat, [*later, *first]))
    assert before.items() <= after.items()


@settings(max_examples=15, deadline=None)
@given(words)
def test_repeats_that_differ_in_case_marks_and_system_prompt_stay_together(tmp_path_factory, said):
    folder = tmp_path_factory.mktemp("split")
    disguised = [chat(f"  {text.upper()}!! ") for text in said]
    prompted = [
        Conversation((Message("system", "s"), Message("user", f"{text}."), Message("assistant", "ok"))) for text in said
    ]
    write_jsonl(folder / "in.jsonl", [*map(chat, said), *disguised, *prompted])
    write_split(folder / "in.jsonl", folder / "out", valid=0.3, test=0.3)
    for side in SPLIT_NAMES:
        items = list(read_source(folder / "out" / f"{side}.jsonl", format="openai"))
        plain = sorted(
            next(m.content for m in item.messages if m.role == "user").strip(" !.").lower() for item in items
        )
        assert all(plain.count(text) == 3 for text in plain)


def test_the_shares_are_near_what_was_asked_and_the_seed_decides(tmp_path):
    items = [chat(f"question {n}") for n in range(2000)]
    first = split_of(tmp_path, items, valid=0.1, test=0.2)
    assert abs(sum(side == "valid" for side in first.values()) - 200) < 60
    assert abs(sum(side == "test" for side in first.values()) - 400) < 80
    assert split_of(tmp_path, items, valid=0.1, test=0.2, seed=1) != first


def test_a_group_stays_together(tmp_path):
    items = [chat(f"{n} {group}", customer=group) for group in range(40) for n in range(3)]
    sides = split_of(tmp_path, items, group_by="customer")
    assert set(sides.values()) == set(SPLIT_NAMES)
    for group in range(40):
        assert len({sides[f"{n} {group}"] for n in range(3)}) == 1


def test_a_conversation_in_two_groups_is_not_on_two_sides(tmp_path):
    items = [chat("same", customer=group) for group in range(40)]
    assert len(split_of(tmp_path, items, group_by="customer")) == 1
    assert sum(bool(texts(tmp_path / "out", side)) for side in SPLIT_NAMES) == 1


def test_a_missing_group_key_names_the_row_and_the_keys_there_are(tmp_path):
    with pytest.raises(InvalidData, match=r"in.jsonl, line 1: this row has no metadata key 'topic'.*metadata has lang"):
        split_of(tmp_path, [chat("a", lang="en")], group_by="topic")
    assert not (tmp_path / "out").exists()


def test_the_summary_says_how_it_was_made(tmp_path):
    split_of(tmp_path, [chat(str(n)) for n in range(50)], seed=4)
    summary = json.loads((tmp_path / "out" / "split.json").read_text())
    assert summary["seed"] == 4
    assert summary["train"] + summary["valid"] + summary["test"] == 50
    assert list(summary["input_sha256"]) == ["in.jsonl"]
    assert len(summary["input_sha256"]["in.jsonl"]) == 64


def test_what_is_known_of_a_dialogue_goes_along(tmp_path):
    split_of(tmp_path, [chat("a", topic="x")], valid=0, test=0)
    (item,) = read_source(tmp_path / "out" / "train.jsonl")
    assert item == chat("a", topic="x")


def test_a_bad_row_stops_it_and_leaves_nothing_behind_unless_skipped(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", [chat("a"), chat("b")])
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("oops\n")
    with pytest.raises(InvalidData, match="line 3"):
        write_split(tmp_path / "in.jsonl", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    made = write_split(tmp_path / "in.jsonl", tmp_path / "out", skip_bad=True)
    assert made.bad_rows == 1
    assert made.train + made.valid + made.test == 2


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
def test_shares_out_of_range_are_refused(tmp_path, valid, test):
    write_jsonl(tmp_path / "in.jsonl", [chat("a")])
    with pytest.raises(InvalidParameter, match="sum to less than 1"):
        write_split(tmp_path / "in.jsonl", tmp_path / "out", valid=valid, test=test)


def test_no_usable_row_writes_nothing(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(InvalidData, match="no usable row"):
        write_split(tmp_path / "in.jsonl", tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()
