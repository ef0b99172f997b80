"""`/v1/tag`: spans and their offsets."""

import pytest
from classification_requests import TEXTS, spans_of
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.app.classifiers import open_classifier


def test_the_spans_are_those_of_the_tagger(post, folders):
    expected = open_classifier(str(folders["names"])).tag(TEXTS)
    for spans, result in zip(spans_of(post, TEXTS), expected, strict=True):
        assert [(span["start"], span["end"], span["text"], span["label"]) for span in spans] == [
            (span.start, span.end, span.text, span.label) for span in result.spans
        ]
        assert [span["probability"] for span in spans] == pytest.approx([span.probability for span in result.spans])


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=3), threshold=st.floats(0, 1))
def test_the_offsets_of_spans_count_characters_of_the_text(post, texts, threshold):
    for text, spans in zip(texts, spans_of(post, texts), strict=True):
        end = 0
        for span in spans:
            assert end <= span["start"] < (end := span["end"]) <= len(text), "spans are in order and do not overlap"
            assert text[span["start"] : span["end"]] == span["text"]
    above = [[span for span in spans if span["probability"] >= threshold] for spans in spans_of(post, texts)]
    assert spans_of(post, texts, threshold=threshold) == above


def test_every_word_of_some_text_is_in_a_span(post):
    """The test above would pass for a tagger that finds nothing."""
    labels = {span["label"] for spans in spans_of(post, TEXTS) for span in spans}
    assert labels == {"PER", "LOC"}
