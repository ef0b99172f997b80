"""Validation data are held out by document, so that no document is in both splits."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from turnwise.data.annotations.annotated import TaggedSentence
from turnwise.models.encoder_model import EncoderModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.examples.holdout import document_positions, held_out_annotations, training_annotations
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.recipe_sources import with_labels
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe import parse_recipe

NUM_DOCUMENTS, NUM_SENTENCES = 12, 6
FILE = Path("names.conll")


def write_documents(path, num_documents, start="-DOCSTART- O\n\n"):
    """Write documents of `NUM_SENTENCES` sentences; every word says which document it is from."""
    document = [f"{start}" + f"x{number} O\ny{number} B-PER\n\n" * NUM_SENTENCES for number in range(num_documents)]
    path.write_text("".join(document))
    return path


def recipe_for(path, model="none", **options):
    return parse_recipe(
        {
            "objective": {"name": "token_classification", **options}, "model": {"from": str(model)},
            "out": str(path.with_suffix("")), "data": {"train": str(path)}, "training": {"max_seq_len": 64},
        },
        origin="test",
    )  # fmt: skip


def documents_of(items):
    return {word.lstrip("xy") for item in items for word in item.tokens}


@pytest.mark.parametrize("options", [{}, {"window_words": 5}, {"context_words": 5}])
@pytest.mark.parametrize("num_documents", [2, 3, NUM_DOCUMENTS])
def test_no_document_is_in_both_splits(tmp_path, options, num_documents):
    recipe = recipe_for(write_documents(tmp_path / "names.conll", num_documents), **options)
    train, valid = training_annotations(recipe), held_out_annotations(recipe)["valid"]
    assert documents_of(train)
    assert documents_of(valid)
    assert not documents_of(train) & documents_of(valid)
    assert len(documents_of(train) | documents_of(valid)) == num_documents


def test_the_datasets_of_a_run_have_the_same_split(tmp_path, encoder_folder):
    path = write_documents(tmp_path / "names.conll", NUM_DOCUMENTS)
    recipe = with_labels(recipe_for(path, encoder_folder))
    tokenizer = Tokenizer.load(encoder_folder)
    base = ModelBundle(EncoderModel.load(encoder_folder), tokenizer, None)
    data = load_datasets(recipe, Renderer.from_tokenizer(tokenizer), recipe.objective.add_head(base, 0).model)
    counts = [sum(map(len, dataset.shards)) for dataset in (data.train, data.valid)]
    assert counts == [len(training_annotations(recipe)), len(held_out_annotations(recipe)["valid"])]


def test_sentences_of_a_single_document_are_split_one_by_one(tmp_path):
    path = tmp_path / "names.conll"
    path.write_text("".join(f"x{number} O\ny{number} B-PER\n\n" for number in range(100)))
    recipe = recipe_for(path)
    assert 0 < len(held_out_annotations(recipe)["valid"]) < 30


DOCUMENTS = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3), min_size=1, max_size=6)


def rows_of(documents):
    """The rows of a file, a sentence of one word for every letter of a document."""
    return [(FILE, TaggedSentence((word,), ("O",), number)) for number, words in enumerate(documents) for word in words]


@given(DOCUMENTS, st.integers(0, 3))
def test_of_several_documents_one_is_held_out_and_one_is_not(documents, seed):
    positions = document_positions(rows_of(documents), seed)
    assume(positions and len(set(map(tuple, documents))) > 1)
    assert positions.keys() == set(range(len(documents)))
    assert min(positions.values()) == 0
    assert 0.99 < max(positions.values()) < 1
    for first, words in enumerate(documents):
        for second, others in enumerate(documents):
            assert (words == others) <= (positions[first] == positions[second]), "copies are in the same split"


@given(DOCUMENTS, st.integers(0, 3))
def test_a_document_between_others_keeps_its_position(documents, seed):
    """A file may grow: only the two ends of the order move."""
    before = document_positions(rows_of(documents), seed)
    after = document_positions(rows_of([*documents, ["g", "h"]]), seed)
    ends = {0.0, max(before.values(), default=0), max(after.values(), default=0)}
    for number, position in before.items():
        assert position in ends or after[number] in ends or position == after[number]


def test_rows_of_a_table_are_split_by_their_text():
    assert document_positions(rows_of([["a"], ["b"], ["c"]]), 0) == {}
