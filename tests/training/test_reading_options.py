"""Read options of data sources: columns, speakers, encoding; and reports of unused columns."""

import pytest

from turnwise.cli.data_flags import read_options, recipe_keys
from turnwise.cli.recipe_flags import RecipeFlags
from turnwise.core.errors import InvalidParameter
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.examples.recipe_sources import open_source, with_splits
from turnwise.training.recipe import parse_recipe
from turnwise.training.recipe_sections import SourceConfig

GIVEN = {"columns": {"user": "Frage", "assistant": "Antwort"}, "encoding": "windows-1252"}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "fragen.csv"
    path.write_bytes("Frage;Antwort\nGeöffnet?;Ja\n".encode("windows-1252"))
    return path


def contents(source):
    return [[message.content for message in item.messages] for item in open_source(source)]


def test_a_source_of_a_recipe_has_read_options(table):
    assert contents(SourceConfig(path=str(table), **GIVEN)) == [["Geöffnet?", "Ja"]]
    assert contents(
        SourceConfig(path=str(table), encoding="windows-1252", format="csv", **{"columns": GIVEN["columns"]})
    )


def test_flags_apply_to_all_data_files_of_the_command_line(table, tmp_path):
    flags = RecipeFlags(
        None, tmp_path / "out", None, None, {"valid": table}, {},
        recipe_keys(read_options(encoding="windows-1252", columns=["user=Frage,assistant=Antwort"])),
    )  # fmt: skip
    data = flags.to_recipe(table).data
    assert contents(data.train[0]) == contents(data.valid[0]) == [["Geöffnet?", "Ja"]]


def test_all_splits_of_a_folder_have_the_read_options_of_the_training_split(tmp_path):
    for side in ("train", "valid"):
        (tmp_path / f"{side}.csv").write_text("Frage;Antwort\na;b\n")
    values = {"model": {"from": "x"}, "out": "y", "data": {"train": [{"path": str(tmp_path), **GIVEN, "max_items": 1}]}}
    (valid,) = with_splits(parse_recipe(values, origin="test")).data.valid
    assert contents(valid) == [["a", "b"]]
    assert valid.max_items is None


def test_unused_columns_are_reported_before_the_run():
    (sentence,) = TruncationReport(unread={"passage": 3}).sentences(512)
    assert "passage" in sentence


def test_a_wrong_flag_is_rejected_by_name():
    with pytest.raises(InvalidParameter, match="NAME=VALUE"):
        read_options(columns=["Frage"])
