"""The report: its headline, its contents, the escaping of models' answers, and that it loads no other resource."""

import json
import re
from dataclasses import replace

import pytest
from report_pages import HOSTILE, ParsedPage

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation import metric
from turnwise.evaluation.evaluate import Evaluation
from turnwise.evaluation.flips import Flip
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import statistics_array
from turnwise.evaluation.metric_runner import plan_samples, run_metrics
from turnwise.evaluation.report import write_report
from turnwise.evaluation.report.escaping import escape_markdown
from turnwise.evaluation.samples import GenerationOutput
from turnwise.evaluation.scorecard import build_scorecard
from turnwise.evaluation.statistics import ConfidenceInterval
from turnwise.evaluation.temperature_sweep import TemperaturePoint

DIALOGUES = [
    Conversation((Message("user", "Hello."), Message("assistant", "Hi."), Message("user", f"Where is lamp {n}?"),
                  Message("assistant", f"lamp {n} stands on shelf {n * 7}"))) for n in range(12)
]  # fmt: skip


class PrefixMetric(metric.Metric):
    NAME, LABEL, SORT_ORDER = "right", "right words", 1
    DESCRIPTION = "The share of answers that begin with the reference."
    BETTER, COUNTS_FOR_VERDICT, VALUE_FORMAT, IS_BINARY = "higher", True, ".1%", True

    def samples(self, dialogues, seed):
        return last_reply_samples(dialogues)

    def statistics(self, samples, results):
        return statistics_array(
            [(self.count(sample, result.outputs[0].text), 1.0) for sample, result in zip(samples, results, strict=True)]
        )

    def count(self, sample, answer):
        return float(answer.startswith(sample.reference))


class LengthMetric(PrefixMetric):
    NAME, LABEL, DESCRIPTION, SORT_ORDER = "length", "words", "The number of words of an answer.", 2
    BETTER, VALUE_FORMAT, IS_BINARY = "lower", ".2f", False

    def count(self, sample, answer):
        return float(len(answer.split()))


class UncountedMetric(PrefixMetric):
    NAME, LABEL, DESCRIPTION, SORT_ORDER = "odd", "odd | <ones>", "Does not count.", 3
    BETTER, COUNTS_FOR_VERDICT = "", False


class ScriptedSystem:
    """A text generator whose answer is a function of the lamp's number."""

    name = "scripted"

    def __init__(self, answer):
        self._answer = answer

    def generate(self, queries, on_done):
        return [
            GenerationOutput(self._answer(query.history[-1].content.split()[-1].rstrip("?"))) for query, _ in queries
        ]


def right(number):
    return f"lamp {number} stands on shelf {int(number) * 7}"


def wrong(number):
    return f"I do not know about {number}"


def rambling(number):
    return right(number) + " " + "really " * 9


@pytest.fixture(scope="module")
def results_of():
    """The results of a system with these answers, by metric."""
    metrics = [PrefixMetric(), LengthMetric(), UncountedMetric()]
    samples = plan_samples(metrics, DIALOGUES, 0)
    return lambda answer: run_metrics(ScriptedSystem(answer), metrics, samples, seeds=(0, 1))


@pytest.fixture
def write(tmp_path, results_of):
    """Write the report of a model, perhaps against a base, and return the HTML page and the Markdown."""

    def write(model_answer, base_answer=None, *, folder="report", flips=(), metadata=None, sweep=(), loss=()):
        model = results_of(model_answer)
        base = None if base_answer is None else results_of(base_answer)
        scorecard = build_scorecard(model, base, {"model": "new", "base": "old", "seeds": [0, 1], **(metadata or {})})
        evaluation = Evaluation(replace(scorecard, flips=flips), model, base, sweep, {})
        write_report(tmp_path / folder, evaluation, loss_curve=loss)
        page = ParsedPage((tmp_path / folder / "report.html").read_text())
        return page, (tmp_path / folder / "report.md").read_text()

    return write


def temperature_points(*, systems=("new", "旧")):
    return [
        TemperaturePoint(
            system, temperature, 30 - temperature, ConfidenceInterval(28 - temperature, 32 - temperature),
            0.4 + temperature / 10, 20.0,
        )
        for system in systems
        for temperature in (0.5, 1.0)
    ]  # fmt: skip


HEADLINES = {
    "better": (right, wrong, "✓ Better on 1 of 2 (right words), worse on none. Significant: yes"),
    "worse": (wrong, right, "✗ Worse: better on 0 of 2, worse on 1 (right words). Significant: yes"),
    "mixed": (rambling, wrong, "± Mixed: better on 1 of 2 (right words), worse on 1 (words). Significant: yes"),
    "none": (right, right, "≈ No difference: better on 0 of 2, worse on none. Significant: no"),
}


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_is_the_verdict(write, name):
    model_answer, base_answer, headline = HEADLINES[name]
    page, markdown = write(model_answer, base_answer)
    assert page.heading == headline
    assert markdown.splitlines()[0] == f"# {headline}"
    assert "12 dialogues, each answer sampled with 2 seeds" in page.text
    assert "correction for the 2 metrics that count for the verdict" in page.text


def test_without_a_base_there_is_no_verdict(write):
    page, markdown = write(wrong)
    assert page.heading == "No verdict: there is no base to compare with"
    assert "Lowest quality" in page.text
    assert "Lowest quality: 5" in markdown
    assert "Difference" not in page.text
    assert not any(tag == "svg" for tag, _ in page.tags)


def test_without_a_counting_metric_the_difference_is_shown_without_a_verdict(tmp_path):
    metrics = [LengthMetric()]
    metrics[0].COUNTS_FOR_VERDICT = False
    samples = plan_samples(metrics, DIALOGUES, 0)
    model, base = (run_metrics(ScriptedSystem(answer), metrics, samples, seeds=(0, 1)) for answer in (rambling, right))
    scorecard = build_scorecard(model, base, {"model": "new", "base": "old", "seeds": [0, 1]})
    assert scorecard.verdict is None
    write_report(tmp_path, Evaluation(scorecard, model, base, (), {}))
    page = ParsedPage((tmp_path / "report.html").read_text())
    assert page.heading == "No verdict: no metric that counts for it was measured"
    assert "Difference" in page.text
    assert "| old |" in (tmp_path / "report.md").read_text()


def test_markup_in_answers_is_escaped(write):
    flip = Flip(HOSTILE, "word", True, True, (("user", HOSTILE),), HOSTILE, HOSTILE)
    page, markdown = write(lambda n: HOSTILE, right, flips=(flip,), metadata={"model": HOSTILE, "note": HOSTILE})
    assert not any(tag in ("script", "a", "img") for tag, _ in page.tags)
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in page.source + markdown
    assert "\u202e" not in page.source + markdown
    assert "<script" not in markdown
    assert "javascript:" not in markdown
    assert "http:" not in markdown
    for line in markdown.splitlines():
        assert not line.startswith("# f")
    table_rows = [line for line in markdown.splitlines() if line.startswith("| right words")]
    assert len(re.findall(r"(?<!\\)\|", table_rows[0])) == 8


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a|b", r"a\|b"),
        ("\\|", r"\\\|"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("- no list", r"\- no list"),
        ("0.25 and −3", "0.25 and −3"),
        ("two\nlines\r\nmore", "two<br>lines<br>more"),
        ("see www.evil.example or me@evil.example", "see www&#46;evil.example or me&#64;evil.example"),
        ("&lt;b>", "&amp;lt;b&gt;"),
    ],
)
def test_markdown_is_escaped(text, line):
    assert escape_markdown(text) == line


def test_the_page_loads_no_other_resource(write):
    page, _ = write(right, wrong, sweep=temperature_points(), loss=[(1, 2.0, None), (2, 1.0, 1.5)])
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "img", "base", "form")
        assert "style" not in attributes, "the policy allows the style sheet only"
        for key in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert attributes.get(key, "#").startswith(("#", "data:,"))
    assert not re.search(r"https?://|@import", page.source)
    (policy,) = (attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert page.open_tags == [], "every element is closed"


def test_figures_have_text_alternatives_and_unique_ids(write, tmp_path):
    page, markdown = write(right, wrong, sweep=temperature_points(), loss=[(1, 2.0, None), (2, 1.0, 1.5)])
    alternatives = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert len(alternatives) == 3
    assert "right words +100.0 pp, better" in alternatives[0]
    assert "new at 0.5: chrF 29.50, distinct-2 0.450" in alternatives[1]
    assert "from 2.000 to 1.000. The lowest validation loss is 1.500, after step 2." in alternatives[2]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page.source)
    assert {href or url for href, url in references} == set(ids)
    for name in re.findall(r"\]\((\w+\.svg)\)", markdown):
        assert (tmp_path / "report" / name).read_text().startswith("<svg")


def test_figures_of_an_earlier_report_are_deleted(write, tmp_path):
    write(right, wrong, sweep=temperature_points(), loss=[(1, 2.0, None)])
    write(right, wrong)
    assert sorted(path.name for path in (tmp_path / "report").glob("*.svg")) == ["differences.svg"]


def test_every_metric_is_described(write, tmp_path):
    page, markdown = write(right, wrong)
    for kind in (PrefixMetric, LengthMetric, UncountedMetric):
        assert kind.LABEL in page.text
        assert kind.DESCRIPTION in page.text
        assert f"| {escape_markdown(kind.LABEL)} |" in markdown
        assert kind.DESCRIPTION in markdown
    scorecard = json.loads((tmp_path / "report/scorecard.json").read_text())
    assert [row["name"] for row in scorecard["rows"]] == ["right", "length", "odd"]
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert all(attributes.get("scope") in ("row", "col") for attributes in headers)


def test_answers_with_the_largest_gains_and_losses_are_shown_side_by_side(write):
    page, markdown = write(
        lambda n: right(n) if int(n) < 3 else wrong(n), lambda n: wrong(n) if int(n) < 3 else right(n)
    )
    gains, losses = page.text.split("Largest gains")[1].split("Largest losses")
    assert gains.count("Reference") == 3
    assert losses.count("Reference") == 5
    assert "old chrF" in gains
    assert "Earlier messages (2 messages)" in gains
    assert "### Largest gains: 3" in markdown


def test_a_model_and_itself_have_distinct_names(write):
    points = temperature_points(systems=("new", "new"))
    metadata = {"model": {"name": "new"}, "base": {"name": "new"}}
    page, markdown = write(right, right, metadata=metadata, sweep=points)
    assert "| metric | dialogues | new | new (base) |" in markdown
    alternatives = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert "new (base) at 0.5: chrF 29.50" in alternatives[1]


def test_flips_come_before_the_metrics(write):
    flip = Flip("medicine", "refusal", True, True, (("user", "How much?"),), "Ask a doctor.", "Twenty.")
    page, markdown = write(right, wrong, flips=(flip,))
    expected = ("medicine", "refusal, safety: passed before, fails now", "How much?", "Ask a doctor.", "Twenty.")
    for text in (page.text, markdown):
        before_metrics, _, after = text.partition("Metrics")
        for fragment in expected:
            assert fragment in before_metrics
            assert fragment not in after


@pytest.mark.costly
def test_equal_evaluations_give_equal_bytes(write, tmp_path):
    for folder in ("one", "two"):
        write(right, wrong, folder=folder, sweep=temperature_points(), loss=[(1, 2.0, 2.5)])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    pages = ["report.html", "report.md", "scorecard.json"]
    assert names == ["differences.svg", "loss.svg", *pages, "temperature_sweep.svg"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
