"""A folder with files named after train, valid and test is read one split at a time."""

import pytest

from turnwise.core.errors import InvalidData
from turnwise.data.data_files import find_split_files, held_out_split
from turnwise.data.sources import DataSource


def folder(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"messages": []}')
    return root


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train.jsonl", "valid.jsonl", "test.jsonl", "split.json"), {"train": 1, "valid": 1, "test": 1}),
        (("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"),
         {"train": 2, "test": 1}),
        (("README.md", "data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"),
         {"train": 1, "valid": 1}),
        (("train/0000.parquet", "train/0001.parquet", "validation/0000.parquet"), {"train": 2, "valid": 1}),
        (("train_sft.jsonl.gz", "test_sft.jsonl.gz"), {"train": 1, "test": 1}),
        (("Train.json", "dev.json", "val_1.json"), {"train": 1, "valid": 2}),
        (("train.jsonl",), {}),
        (("a.jsonl", "b.jsonl"), {}),
        (("trainers.jsonl", "tests.jsonl"), {}),
        (("test.jsonl", "other.jsonl"), {}),
    ],
)  # fmt: skip
def test_splits_are_recognized_by_their_names(tmp_path, names, expected):
    splits = find_split_files(folder(tmp_path, *names))
    assert {split: len(files) for split, files in splits.items()} == expected


def test_a_file_that_belongs_to_no_split_is_rejected(tmp_path):
    folder(tmp_path, "train.jsonl", "test.jsonl", "more.jsonl")
    with pytest.raises(InvalidData, match=r"more\.jsonl, which belongs to none"):
        find_split_files(tmp_path)


def test_a_single_split_is_read(tmp_path):
    folder(tmp_path, "train.jsonl", "valid.jsonl", "test.jsonl")
    assert [file.name for file in DataSource(tmp_path, split="valid").files] == ["valid.jsonl"]
    assert len(DataSource(tmp_path).files) == 3
    assert held_out_split(tmp_path) == "test"
    (tmp_path / "test.jsonl").unlink()
    assert held_out_split(tmp_path) == "valid"
    with pytest.raises(InvalidData, match="has no split 'test', only train, valid"):
        DataSource(tmp_path, split="test")
    with pytest.raises(InvalidData, match="has no splits"):
        DataSource(tmp_path / "train.jsonl", split="test")
