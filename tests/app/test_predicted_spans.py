"""Spans of words without a token, such as a zero-width space inside of a name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.app.predicted_spans import fill_gaps, spans_of
from turnwise.core.tag_schemes import entities, to_iob2
from turnwise.text.words import Word

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def predictions_of(tags):
    """One prediction per tag, "-" for a word without a token."""
    return [None if tag == "-" else (tag, 0.1 + index / 100) for index, tag in enumerate(tags.split())]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER - I-PER", "B-PER I-PER I-PER"),
        ("B-PER - - I-PER", "B-PER I-PER I-PER I-PER"),
        ("B-PER - B-PER", "B-PER O B-PER"),
        ("B-PER - O", "B-PER O O"),
        ("O - I-PER", "O O I-PER"),
        ("B-LOC - I-PER", "B-LOC O I-PER"),
        ("- I-PER -", "O I-PER O"),
        ("-", "O"),
        ("NN - NN", "NN O NN"),
    ],
)
def test_a_word_without_a_token_is_inside_of_the_entity_around_it(tags, expected):
    assert fill_gaps(predictions_of(tags), "O")[0] == expected.split()


def test_a_name_with_a_zero_width_space_is_one_span_with_the_probability_of_its_words():
    text = "Ada \u200b Lovelace"
    words = [Word("Ada", 0, 3), Word("\u200b", 4, 5), Word("Lovelace", 6, 14)]
    (span,) = spans_of(text, words, *fill_gaps([("B-PER", 0.9), None, ("I-PER", 0.8)], "O"))
    assert (span.start, span.end, span.text, span.label, span.probability) == (0, 14, text, "PER", 0.8)


@given(st.lists(st.sampled_from([None, *TAGS]), max_size=10))
def test_words_with_a_token_keep_their_tags_and_their_entities(tags):
    predictions = [None if tag is None else (tag, 0.5) for tag in tags]
    filled, probabilities = fill_gaps(predictions, "O")
    assert len(filled) == len(probabilities) == len(tags)
    with_token = [index for index, tag in enumerate(tags) if tag is not None]
    assert [filled[index] for index in with_token] == [tags[index] for index in with_token]
    remaining = to_iob2([tags[index] for index in with_token])
    assert [(with_token[e.start], with_token[e.end - 1], e.label) for e in entities(remaining)] == [
        (e.start, e.end - 1, e.label) for e in entities(filled)
    ], "entities are those that the model sees, without the words in between"
