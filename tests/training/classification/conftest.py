"""A random encoder, and data that it learns in seconds."""

import pytest

from annotated_data import write_encoder, write_labelled, write_tagged


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory, tokenizer):
    """A random encoder with the tokenizer of the tests."""
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder", tokenizer)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """Sentences about people and places, as train and valid files of a folder."""
    return write_tagged(tmp_path_factory.mktemp("tagged"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Texts with one of two labels, as train and valid files of a folder."""
    return write_labelled(tmp_path_factory.mktemp("labelled"))
