"""References to versions, such as NAME@3, in place of the name of a model."""

import pytest
from version_changes import MODEL, add, promote

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_names import is_model_name, resolve_model_folder
from turnwise.app.model_versions.version_reference import parse_reference, required_reference
from turnwise.core.errors import (
    InvalidParameter,
    ModelNotFound,
)
from turnwise.models.bundled_models import bundled_model_folder


@pytest.mark.costly
def test_commands_accept_references(library, make_run, tmp_path):
    for seed in (1, 2, 3):
        add(library, make_run(str(seed), seed=seed))
    promote(library, library.get(required_reference(f"{MODEL}@2")))
    folder = library.root / MODEL
    assert resolve_model_folder(f"{MODEL}@1") == folder / "1"
    assert resolve_model_folder(f"{MODEL}@stable") == folder / "2"
    assert resolve_model_folder(f"{MODEL}@latest") == folder / "3"
    assert is_model_name(f"{MODEL}@3")
    assert resolve_model_folder("tiny@stable") == bundled_model_folder("tiny")
    for name, message in [
        (f"{MODEL}@9", "no version 9 of helper"), ("nobody@1", "nobody has no versions. Models with versions: helper"),
        (f"{MODEL}@newest", "no model folder helper@newest"),
    ]:  # fmt: skip
        with pytest.raises(ModelNotFound, match=message):
            resolve_model_folder(name)
    (tmp_path / f"{MODEL}@1").symlink_to(folder / "3")
    assert str(resolve_model_folder(f"{MODEL}@1")) == f"{MODEL}@1", "a path comes first, as for names of the store"


def test_a_bundled_adapter_as_a_version_says_what_to_pull():
    with pytest.raises(ModelNotFound, match="turnwise models pull smollm2"):
        resolve_model_folder("assistant@stable")


@pytest.mark.parametrize("text", ["m", "m@", "m@0", "m@01", "m@stable ", "hf:a/b@1", "a/b@1", "@1", "m@1@2", "m@-1"])
def test_other_names_are_no_references(text):
    assert parse_reference(text) is None
    with pytest.raises(InvalidParameter, match="NAME@NUMBER"):
        required_reference(text)


@pytest.mark.costly
def test_a_version_is_served_by_the_name_of_its_model(library, make_run):
    add(library, make_run())
    with open_chat_service(f"{MODEL}@1") as service:
        assert service.name == MODEL
