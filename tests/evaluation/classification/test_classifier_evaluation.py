"""Evaluations of classifiers: confusions, worst errors, calibration and baselines."""

import pytest

from turnwise.core.classification import LabelScore, TextLabels
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence
from turnwise.evaluation.classification.classifier_evaluation import evaluate_tags, evaluate_texts
from turnwise.evaluation.classification.confusion import Confusion, ConfusionCounts, count_tag_confusions
from turnwise.evaluation.classification.most_frequent import MostFrequentLabel, MostFrequentTag
from turnwise.evaluation.classification.worst_errors import mark_spans, worst_sentences

LABELS = ("a", "b")


def text(label):
    return LabeledText(f"text {label}", (label,) if label else ())


def prediction(label, probability):
    """A prediction of the first two labels; "" refuses the more probable label a."""
    rest = (LabelScore("b" if label != "b" else "a", 1 - probability),)
    return TextLabels((label,) if label else (), (LabelScore(label or "a", probability), *rest))


def test_the_most_frequent_confusions_come_first():
    counts = ConfusionCounts(["a", "a", "a", "b", "b"], ["b", "b", "a", "a", "b"], LABELS)
    assert counts.largest() == [Confusion("a", "b", 2, 3), Confusion("b", "a", 1, 2)]
    assert counts.largest(1) == [Confusion("a", "b", 2, 3)]
    assert counts.matrix().counts == ((1, 2), (1, 1))


def test_a_large_matrix_shows_the_labels_that_are_confused_most():
    targets = [str(number) for number in range(10)] + ["3", "7"]
    predictions = [str(number) for number in range(10)] + ["7", "3"]
    matrix = ConfusionCounts(targets, predictions, [str(number) for number in range(10)]).matrix(max_labels=2)
    assert matrix.labels == ("3", "7")
    assert matrix.counts == ((1, 1), (1, 1))
    assert matrix.num_hidden == 8


def test_words_are_confused_without_their_prefixes():
    counts = count_tag_confusions([["B-PER", "I-PER", "O"]], [["B-LOC", "B-PER", "O"]])
    assert counts.largest() == [Confusion("PER", "LOC", 1, 2)]


def test_the_worst_errors_are_those_with_the_least_probable_true_label():
    texts = [text("a"), text("b"), text("b"), text("a")]
    model = [prediction("b", 0.6), prediction("a", 0.9), prediction("b", 0.99), prediction("", 0.55)]
    evaluation = evaluate_texts(texts, model, None, LABELS)
    assert evaluation.num_errors == 3
    errors = [(error.target, error.prediction, error.target_probability) for error in evaluation.errors]
    assert errors == [("b", "a", pytest.approx(0.1)), ("a", "b", pytest.approx(0.4)), ("a", "(none)", 0.55)]


def test_refused_texts_are_a_column_of_the_confusions():
    evaluation = evaluate_texts([text("a"), text("")], [prediction("", 0.6), prediction("a", 0.9)], None, LABELS)
    assert {(entry.target, entry.prediction) for entry in evaluation.confusions.largest()} == {
        ("a", "(none)"), ("(none)", "a"),
    }  # fmt: skip
    assert [row.label for row in evaluation.labels.labels] == ["a"]


def test_calibration_ignores_the_threshold_and_texts_of_no_label():
    texts, model = [text("a"), text("")], [prediction("", 0.75), prediction("a", 0.99)]
    calibration = evaluate_texts(texts, model, None, LABELS).calibration
    assert (calibration.count, calibration.confidence, calibration.accuracy) == (1, 0.75, 1.0)
    assert calibration.error == pytest.approx(0.25)


def test_labels_that_the_classifier_does_not_know_count_as_errors():
    evaluation = evaluate_texts([text("z"), text("a")], [prediction("a", 0.9), prediction("a", 0.9)], None, LABELS)
    assert evaluation.scorecard.rows[0].value == 0.5
    assert evaluation.errors[0].target == "z"


def test_a_sentence_is_marked_with_its_spans():
    tokens = ["Ada", "Lovelace", "saw", "Rome"]
    marked = (("Ada Lovelace", "PER"), ("saw", ""), ("Rome", "LOC"))
    assert mark_spans(tokens, ["B-PER", "I-PER", "O", "B-LOC"]) == marked
    assert mark_spans(["runs"], ["VB"]) == (("runs", "VB"),)
    assert mark_spans([], []) == ()


def test_sentences_with_a_confident_error_come_first():
    sentences = [TaggedSentence(("Ada",), ("B-PER",)), TaggedSentence(("Rome",), ("B-LOC",))]
    errors = worst_sentences(sentences, [(["O"], [0.6]), (["B-PER"], [0.9])])
    assert [(error.target, error.prediction) for error in errors] == [
        ((("Rome", "LOC"),), (("Rome", "PER"),)), ((("Ada", "PER"),), (("Ada", ""),)),
    ]  # fmt: skip
    assert worst_sentences(sentences, [(["B-PER"], [0.6]), (["B-LOC"], [0.9])]) == []


def test_taggers_are_compared_by_entities():
    sentences = [TaggedSentence(("Ada", "left"), ("B-PER", "O"))] * 20
    model, base = ([(tags, [0.9, 0.8])] * 20 for tags in (["B-PER", "O"], ["O", "O"]))
    evaluation = evaluate_tags(sentences, model, base)
    assert evaluation.scorecard.verdict == "better"
    assert evaluation.scorecard.rows[0].name == "entity_f1"
    assert evaluation.entities.micro.f1 == 1.0
    assert evaluation.base_calibration.accuracy == 0.5


def test_the_most_frequent_label_has_the_shares_of_the_labels():
    (prediction,) = MostFrequentLabel([text("b"), text("a"), text("b")]).classify(["x"])
    assert prediction.labels == ("b",)
    assert prediction.scores == (LabelScore("b", 2 / 3), LabelScore("a", 1 / 3))


def test_the_most_frequent_tag_of_a_word_else_of_all_words():
    train = [TaggedSentence(("Rome", "is", "old"), ("B-LOC", "O", "O")), TaggedSentence(("Rome",), ("B-LOC",))]
    train.append(TaggedSentence(("Rome", "a"), ("O", "O")))
    (tags, probabilities) = MostFrequentTag(train).tag_words([TaggedSentence(("Rome", "Oslo"), ("O", "O"))])[0]
    assert tags == ["B-LOC", "O"]
    assert probabilities == [pytest.approx(2 / 3), pytest.approx(4 / 6)]


def test_words_without_a_token_are_not_in_the_calibration():
    sentence = TaggedSentence(("Ada", "\u200b"), ("B-PER", "O"))
    evaluation = evaluate_tags([sentence], [(["B-PER", "O"], [0.9, 0.0])], None)
    assert (evaluation.calibration.count, evaluation.calibration.confidence) == (1, 0.9)


def test_texts_of_no_label_that_are_all_refused_have_a_report():
    evaluation = evaluate_texts([text("")] * 2, [prediction("", 0.6)] * 2, None, LABELS)
    assert evaluation.labels.labels == ()
    assert evaluation.scorecard.rows[0].value == 1
