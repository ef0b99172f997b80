"""A random encoder, and data that it learns in seconds."""

import pytest

from annotated_data import write_encoder, write_labelled, write_tagged
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import parse_recipe


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


@pytest.fixture
def train(tmp_path, one_thread, monkeypatch):
    """`train(base, data, objective, **settings)`: the result and the folder of a run.

    `data` is a folder or file of training data, or the section `data` of the recipe.
    """
    monkeypatch.setattr("turnwise.training.loggers.plot_loss", lambda *_, **__: None)

    def run(base, data, objective, method="full", **settings):
        out = tmp_path / "out"
        values = {
            "objective": objective, "method": method, "model": {"from": str(base)}, "out": str(out),
            "data": data if isinstance(data, dict) else {"train": str(data)},
            "training": {"max_steps": 60, "batch_size": 2, "max_seq_len": 64, "learning_rate": 3e-3,
                         "eval_steps": 20, **settings},
        }  # fmt: skip
        return run_recipe(parse_recipe(values, origin="test")), out

    return run
