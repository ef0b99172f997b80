"""The report on a classifier: its headline, its parts, and the escaping of texts and labels."""

import json
import re

import pytest
from report_pages import HOSTILE, ParsedPage

from turnwise.core.classification import LabelScore, TextLabels
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence
from turnwise.evaluation.classification.classifier_evaluation import evaluate_tags, evaluate_texts
from turnwise.evaluation.report import write_classifier_report

LABELS = ("bad", "good")


def text(label, words="Ada left."):
    return LabeledText(words, (label,))


def prediction(label, probability=0.8, labels=LABELS):
    rest = [LabelScore(name, (1 - probability) / (len(labels) - 1)) for name in labels if name != label]
    return TextLabels((label,), (LabelScore(label, probability), *rest))


@pytest.fixture
def write(tmp_path):
    """Write a report, and return the HTML page, the Markdown and the JSON."""

    def write(evaluation, **settings):
        write_classifier_report(tmp_path, evaluation, **settings)
        page = ParsedPage((tmp_path / "report.html").read_text())
        assert page.open_tags == [], "every element is closed"
        values = json.loads((tmp_path / "scorecard.json").read_text())
        return page, (tmp_path / "report.md").read_text(), values

    return write


def evaluation_of(model, base=None, metadata=None, labels=LABELS):
    """20 texts with the label "good", for which each system predicts one label."""
    systems = [None if label is None else [prediction(label, labels=labels)] * 20 for label in (model, base)]
    return evaluate_texts([text("good")] * 20, *systems, labels, metadata=metadata or {"model": "new", "base": "old"})


@pytest.mark.parametrize(
    ("model", "base", "headline"),
    [
        ("good", "bad", "✓ Better on 2 of 2 (accuracy, macro F1), worse on none. Significant: yes"),
        ("bad", "good", "✗ Worse: better on 0 of 2, worse on 2 (accuracy, macro F1). Significant: yes"),
        ("good", "good", "≈ No difference: better on 0 of 2, worse on none. Significant: no"),
    ],
)
def test_the_headline_is_the_verdict(write, model, base, headline):
    page, markdown, values = write(evaluation_of(model, base))
    assert page.heading == headline
    assert markdown.splitlines()[0] == f"# {headline}"
    assert "Measured on 20 texts. Intervals are" in page.text
    assert values["verdict"] == headline.split()[1].rstrip(":").lower().replace("no", "no difference")
    assert "dialogue" not in page.text + markdown


def test_all_parts_are_in_the_page_and_in_the_markdown(write):
    notes = ["1 bad row skipped."]
    page, markdown, values = write(evaluation_of("bad", "good"), notes=notes, loss_curve=[(1, 2.0, None)])
    for content in (page.text, markdown):
        for heading in (
            "Texts by label",
            "Probabilities",
            "Calibration",
            "Confusions",
            "Worst errors",
            "Training loss",
        ):
            assert heading in content
        assert "true: good; predicted: bad; probability 0.80, of the true label 0.200" in content.replace("&#58;", ":")
        assert "20 of 20 texts have an error." in content
        assert notes[0] in content
    assert "| good | bad | 20 | 100.0% |" in markdown
    assert values["confusions"] == [{"target": "good", "prediction": "bad", "count": 20, "support": 20}]
    assert values["notes"] == notes
    assert values["calibration"]["error"] == pytest.approx(0.8)
    assert values["base_calibration"]["error"] == pytest.approx(0.2)


def test_the_matrix_shows_counts_by_true_and_predicted_label(write):
    texts = [text("good")] * 3 + [text("bad")] * 2
    model = [prediction("good")] * 2 + [prediction("bad")] * 3
    page, *_ = write(evaluate_texts(texts, model, None, LABELS))
    rows = page.source.partition('class="matrix"')[2].partition("</table>")[0].split("<tr>")[2:]
    assert [re.findall(r">(\d*)</td>", row) for row in rows] == [["2", ""], ["1", "2"]]


def test_sentences_are_shown_with_both_spans(write):
    sentence = TaggedSentence(("Ada", "saw", "Rome"), ("B-PER", "O", "B-LOC"))
    evaluation = evaluate_tags([sentence] * 8, [(["O", "O", "B-PER"], [0.5, 0.9, 0.7])] * 8, None)
    page, markdown, _ = write(evaluation)
    assert "Entities by label" in page.text
    assert "True Ada PER saw Rome LOC Predicted Ada saw Rome PER" in page.text
    assert r"true: \[PER Ada\] saw \[LOC Rome\]" in markdown
    assert r"predicted: Ada saw \[PER Rome\]" in markdown
    assert "8 sentences" in page.text


def test_markup_in_texts_and_labels_is_escaped(write):
    labels = (HOSTILE, "good")
    texts = [text("good", HOSTILE)] * 6 + [text(HOSTILE)] * 6
    model = [prediction(HOSTILE, labels=labels)] * 6 + [prediction("good", labels=labels)] * 6
    page, markdown, _ = write(evaluate_texts(texts, model, None, labels, metadata={"model": HOSTILE}), notes=[HOSTILE])
    assert not any(tag in ("script", "a", "img") for tag, _ in page.tags)
    assert not any(key.startswith("on") or key == "style" for _, attributes in page.tags for key in attributes)
    for content in (page.source, markdown):
        assert "\x1b" not in content
        assert "\u202e" not in content
    assert "<script" not in markdown
    assert "http:" not in markdown
    assert not re.search(r"https?://(?!evil)|@import", page.source)


def test_without_errors_the_page_says_so(write):
    page, markdown, values = write(evaluation_of("good"))
    assert page.heading == "No verdict: there is no base to compare with"
    assert "No text has an error." in page.text
    assert "Confusions" not in markdown
    assert values["errors"] == []


def test_figures_of_an_earlier_report_are_deleted(write, tmp_path):
    write(evaluation_of("good", "bad"), loss_curve=[(1, 2.0, None)])
    write(evaluation_of("good"))
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["reliability.svg"]
