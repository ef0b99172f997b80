"""The report for people: what it says first, that models' words are no markup in it, that it needs no other file."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation import metric
from turnwise.evaluation.evaluate import Evaluation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import statistics_array
from turnwise.evaluation.metric_runner import plan_samples, run_metrics
from turnwise.evaluation.report import write_report
from turnwise.evaluation.report.escaping import escape_markdown
from turnwise.evaluation.samples import GenerationOutput
from turnwise.evaluation.scorecard import Flip, build_scorecard
from turnwise.evaluation.statistics import ConfidenceInterval
from turnwise.evaluation.temperature_sweep import TemperaturePoint

HOSTILE = "a | b <script>alert(1)</script> `c` [d](javascript:e)\n# f\n![g](http://evil.example/h.png) \x1b\u202e"
TALKS = [
    Conversation((Message("user", "Hello."), Message("assistant", "Hi."), Message("user", f"Where is lamp {n}?"),
                  Message("assistant", f"lamp {n} stands on shelf {n * 7}"))) for n in range(12)
]  # fmt: skip


class Right(metric.Metric):
    NAME, LABEL, DESCRIPTION, ORDER = "right", "right words", "The share of answers that begin as they should.", 1
    BETTER, COUNTS_FOR_VERDICT, VALUE_FORMAT, IS_BINARY = "higher", True, ".1%", True

    def samples(self, dialogues, seed):
        return last_reply_samples(dialogues)

    def statistics(self, items, found):
        return statistics_array([(self.count(item, each), 1.0) for item, each in zip(items, found, strict=True)])

    def count(self, item, each):
        return float(each.outputs[0].text.startswith(item.reference))


class Length(Right):
    NAME, LABEL, DESCRIPTION, ORDER = "length", "words", "How many words an answer has.", 2
    BETTER, VALUE_FORMAT, IS_BINARY = "lower", ".2f", False

    def count(self, item, each):
        return float(len(each.outputs[0].text.split()))


class Odd(Right):
    NAME, LABEL, DESCRIPTION, ORDER, BETTER, COUNTS_FOR_VERDICT = "odd", "odd | <ones>", "Not judged.", 3, "", False


class Says:
    name = "says"

    def __init__(self, says):
        self.says = says

    def generate(self, queries, on_done):
        return [GenerationOutput(self.says(ask.history[-1].content.split()[-1].rstrip("?"))) for ask, _ in queries]


def right(number):
    return f"lamp {number} stands on shelf {int(number) * 7}"


def wrong(number):
    return f"I do not know about {number}"


def rambling(number):
    return right(number) + " " + "really " * 9


@pytest.fixture(scope="module")
def measured():
    kinds = [Right(), Length(), Odd()]
    items = plan_samples(kinds, TALKS, 0)
    return lambda says: run_metrics(Says(says), kinds, items, seeds=(0, 1))


@pytest.fixture
def write(tmp_path, measured):
    """Write a report of one who says so against another: the HTML and the Markdown."""

    def go(says, other=None, *, folder="report", flips=(), about=None, sweep=(), loss=()):
        model, base = measured(says), None if other is None else measured(other)
        card = build_scorecard(model, base, {"model": "new", "base": "old", "seeds": [0, 1], **(about or {})})
        evaluation = Evaluation(replace(card, flips=flips), model, base, sweep, {})
        write_report(tmp_path / folder, evaluation, loss_curve=loss)
        return Page((tmp_path / folder / "report.html").read_text()), (tmp_path / folder / "report.md").read_text()

    return go


class Page(HTMLParser):
    """Its tags with their attributes, and the text of each first heading."""

    def __init__(self, text):
        super().__init__()
        self.source, self.tags, self.words, self.first, self.inside = text, [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if "style" not in self.inside:
            self.words.append(data)
        if "h1" in self.inside:
            self.first += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


CASES = {
    "better": (right, wrong, "✓ Better on 1 of 2 (right words), worse on none. Significant: yes"),
    "worse": (wrong, right, "✗ Worse: better on 0 of 2, worse on 1 (right words). Significant: yes"),
    "mixed": (rambling, wrong, "± Mixed: better on 1 of 2 (right words), worse on 1 (words). Significant: yes"),
    "none": (right, right, "≈ No difference: better on 0 of 2, worse on none. Significant: no"),
}


@pytest.mark.parametrize("name", CASES)
def test_first_line_is_the_verdict(write, name):
    says, other, line = CASES[name]
    page, markdown = write(says, other)
    assert page.first == line
    assert markdown.splitlines()[0] == "# " + line
    assert "12 dialogues, each answer sampled with 2 seeds" in page.text
    assert "after correction for the 2 metrics that count" in page.text


def test_without_a_base_there_is_no_verdict(write):
    page, markdown = write(wrong)
    assert page.first == "No verdict: there is no base to compare with"
    assert "Lowest quality" in page.text
    assert "Lowest quality: 5" in markdown
    assert "Difference" not in page.text
    assert not any(tag == "svg" for tag, _ in page.tags)


def test_where_nothing_judged_was_compared_the_difference_is_shown_without_a_verdict(tmp_path):
    kinds = [Length()]
    kinds[0].COUNTS_FOR_VERDICT = False
    items = plan_samples(kinds, TALKS, 0)
    model, base = (run_metrics(Says(says), kinds, items, seeds=(0, 1)) for says in (rambling, right))
    card = build_scorecard(model, base, {"model": "new", "base": "old", "seeds": [0, 1]})
    assert card.verdict is None
    write_report(tmp_path, Evaluation(card, model, base, (), {}))
    page = Page((tmp_path / "report.html").read_text())
    assert page.first == "No verdict: no metric that counts for it was measured"
    assert "Difference" in page.text
    assert "| old |" in (tmp_path / "report.md").read_text()


def test_hostile_answers_stay_text(write):
    flip = Flip(HOSTILE, "word", True, True, (("user", HOSTILE),), HOSTILE, HOSTILE)
    page, markdown = write(lambda n: HOSTILE, right, flips=(flip,), about={"model": HOSTILE, "note": HOSTILE})
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
    table = [line for line in markdown.splitlines() if line.startswith("| right words")]
    assert len(re.findall(r"(?<!\\)\|", table[0])) == 8


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
def test_markdown_is_escape_markdown(text, line):
    assert escape_markdown(text) == line


def test_page_asks_for_nothing(write):
    page, _ = write(right, wrong, sweep=sweep(), loss=[(1, 2.0, None), (2, 1.0, 1.5)])
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "img", "base", "form")
        assert "style" not in attributes, "the policy allows the style sheet only"
        for key in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert attributes.get(key, "#").startswith(("#", "data:,"))
    assert not re.search(r"https?://|@import", page.source)
    (policy,) = (each["content"] for tag, each in page.tags if each.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert page.inside == [], "every element is closed"


def sweep():
    return [
        TemperaturePoint(who, t, 30 - t, ConfidenceInterval(28 - t, 32 - t), 0.4 + t / 10, 20.0)
        for who in ("new", "旧")
        for t in (0.5, 1.0)
    ]


def test_pictures_have_texts_and_ids_of_their_own(write, tmp_path):
    page, markdown = write(right, wrong, sweep=sweep(), loss=[(1, 2.0, None), (2, 1.0, 1.5)])
    told = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert len(told) == 3
    assert "right words +100.0 pp, better" in told[0]
    assert "new at 0.5: chrF 29.50, distinct-2 0.450" in told[1]
    assert "from 2.000 to 1.000. The lowest validation loss is 1.500, after step 2." in told[2]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page.source))
    assert {one or other for one, other in pointed} == set(ids)
    for name in re.findall(r"\]\((\w+\.svg)\)", markdown):
        assert (tmp_path / "report" / name).read_text().startswith("<svg")
    write(right, wrong)
    assert sorted(path.name for path in (tmp_path / "report").glob("*.svg")) == ["differences.svg"]


def test_every_metric_and_what_it_is(write, tmp_path):
    page, markdown = write(right, wrong)
    for kind in (Right, Length, Odd):
        assert kind.LABEL in page.text
        assert kind.DESCRIPTION in page.text
        assert f"| {escape_markdown(kind.LABEL)} |" in markdown
        assert kind.DESCRIPTION in markdown
    assert [line["name"] for line in json.loads((tmp_path / "report/scorecard.json").read_text())["rows"]] == [
        "right", "length", "odd",
    ]  # fmt: skip
    cells = [attributes for tag, attributes in page.tags if tag == "th"]
    assert all(each.get("scope") in ("row", "col") for each in cells)


def test_answers_stand_side_by_side(write):
    page, markdown = write(
        lambda n: right(n) if int(n) < 3 else wrong(n), lambda n: wrong(n) if int(n) < 3 else right(n)
    )
    gained, lost = page.text.split("Largest gains")[1].split("Largest losses")
    assert gained.count("Reference") == 3
    assert lost.count("Reference") == 5
    assert "old chrF" in gained
    assert "Earlier messages (2 messages)" in gained
    assert "### Largest gains: 3" in markdown


def test_one_model_against_itself_has_two_names(write):
    points = [replace(point, system="new") for point in sweep()]
    page, markdown = write(right, right, about={"model": {"name": "new"}, "base": {"name": "new"}}, sweep=points)
    assert "| metric | dialogues | new | new (base) |" in markdown
    assert "new (base) at 0.5: chrF 29.50" in [each["aria-label"] for tag, each in page.tags if tag == "svg"][1]


def test_flips_come_before_the_metrics(write):
    flip = Flip("medicine", "refusal", True, True, (("user", "How much?"),), "Ask a doctor.", "Twenty.")
    page, markdown = write(right, wrong, flips=(flip,))
    for text in (page.text, markdown):
        before, _, after = text.partition("Metrics")
        for part in ("medicine", "refusal, safety: passed before, fails now", "How much?", "Ask a doctor.", "Twenty."):
            assert part in before
            assert part not in after


def test_the_same_measurements_give_the_same_bytes(write, tmp_path):
    for folder in ("one", "two"):
        write(right, wrong, folder=folder, sweep=sweep(), loss=[(1, 2.0, 2.5)])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == [
        "differences.svg",
        "loss.svg",
        "report.html",
        "report.md",
        "scorecard.json",
        "temperature_sweep.svg",
    ]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
