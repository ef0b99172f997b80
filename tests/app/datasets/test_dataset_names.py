"""Names of data sets: whatever is accepted is a file name in one folder."""

import unicodedata
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.app.datasets.dataset_names import MAX_NAME_BYTES, check_dataset_name
from turnwise.core.errors import InvalidParameter


@given(st.text(max_size=40))
def test_an_accepted_name_is_one_visible_file_in_normal_form(name):
    try:
        accepted = check_dataset_name(name)
    except InvalidParameter:
        return
    folder = Path("/folder")
    assert (folder / accepted).parent == folder
    assert PureWindowsPath(accepted).name == accepted
    assert not accepted.startswith(".")
    assert len(accepted.encode()) <= MAX_NAME_BYTES
    assert unicodedata.normalize("NFC", accepted) == accepted
    assert check_dataset_name(accepted) == accepted
    for taken in (accepted, unicodedata.normalize("NFD", accepted), accepted.casefold()):
        with pytest.raises(InvalidParameter, match="already"):
            check_dataset_name(accepted, ["other", taken])


@pytest.mark.parametrize("name", ["chats.jsonl", "Chats 2026 (new).csv.gz", "茶.json", "a-b_c.parquet", "Ünï.txt"])
def test_ordinary_names_stay_as_they_are(name):
    assert check_dataset_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".hidden", "..", "a/b", "a\\b", "a\nb", "a:b", " a", "a ", "a.", "x" * 201, "茶" * 67]
)
def test_other_names_are_refused(name):
    with pytest.raises(InvalidParameter) as refused:
        check_dataset_name(name)
    assert refused.value.param == "filename"
