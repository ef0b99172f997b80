"""Folder names for names of models."""

from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.folder_names import decode_folder_name, folder_name
from turnwise.core.version_rules import MODEL_NAME

NAMES = st.text() | st.text(alphabet="aA_./%+=-") | st.text(min_size=190, max_size=320, alphabet="aA/")


def test_ordinary_names_stay_as_they_are():
    assert folder_name("turnwise-assistant") == "turnwise-assistant"
    assert folder_name("shop_2.5") == "shop_2.5"


def test_similar_names_have_different_folders():
    names = ["a/b", "a_b", "a%2fb", "A_b", "a+b", "..", "."]
    assert [folder_name(name) for name in names] == ["a%2fb", "a_b", "a%252fb", "+a_b", "a%2bb", "%2e.", "%2e"]


@given(NAMES, NAMES)
def test_different_names_have_different_folders_also_if_case_is_ignored(first, second):
    assert (folder_name(first).lower() == folder_name(second).lower()) == (first == second)


@given(NAMES)
def test_a_folder_is_one_short_component_of_a_path(name):
    folder = folder_name(name)
    assert len(folder.encode()) <= 200
    assert "/" not in folder
    assert folder
    assert not folder.startswith(".")


@given(st.from_regex(MODEL_NAME, fullmatch=True))
def test_the_name_of_a_model_with_versions_can_be_read_from_its_folder(name):
    assert decode_folder_name(folder_name(name)) == name
