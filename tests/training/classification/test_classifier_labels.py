"""The labels of a classifier: those of the texts that are trained on, each once, and no more than a head can have."""

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.objectives.sequence_classification import SequenceClassificationObjective
from turnwise.training.objectives.token_classification import TokenClassificationObjective


def test_texts_that_cannot_be_trained_on_give_no_label():
    texts = [LabeledText("a", ("x",)), LabeledText("b", ("y", "z")), LabeledText("c", ())]
    assert SequenceClassificationObjective(multi_label=False).fit_labels(texts).labels == ("x",)
    assert SequenceClassificationObjective().fit_labels(texts).labels == ("x", "y", "z")


@pytest.mark.parametrize("name", ["sequence_classification", "token_classification"])
def test_a_label_is_given_once(name):
    with pytest.raises(InvalidParameter, match=r"labels' has a label twice"):
        OBJECTIVES.parse_plugin({"name": name, "labels": ["a", "b", "a"]})


@pytest.mark.costly
def test_more_labels_than_a_classifier_can_have_are_refused_before_training():
    texts = [LabeledText("a", (str(number),)) for number in range(100_001)]
    with pytest.raises(InvalidData, match="100,001 labels, and such a classifier has at most 100,000"):
        SequenceClassificationObjective().fit_labels(texts)
    tags = tuple(f"N{number}" for number in range(1001))
    sentence = TaggedSentence(tags, tags)
    with pytest.raises(InvalidData, match="1,001 labels, and such a classifier has at most 1,000"):
        TokenClassificationObjective(crf=True).fit_labels([sentence])
    with pytest.raises(InvalidData, match="at most 1,000"):
        TokenClassificationObjective(crf=True, labels=tags).fit_labels([sentence])
    assert len(TokenClassificationObjective().fit_labels([sentence]).labels) == 1001
