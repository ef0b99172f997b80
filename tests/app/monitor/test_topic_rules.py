"""Topics of texts: words between word borders, tickers in their case, names of a tagger."""

import unicodedata

import pytest

from turnwise.app.monitor.topic_rules import EntityTopics, RuleTopics, TopicRule, load_topic_rules
from turnwise.core.classification import Span, TaggedText
from turnwise.core.errors import InvalidData, InvalidParameter

RULES = RuleTopics([
    TopicRule(name="Acme", words=("Acme", "acme corp"), tickers=("$ACM", "ACM")),
    TopicRule(name="Bank", words=("bank",)),
    TopicRule(name="Bank of Exampleton", words=("bank of exampleton",), tickers=("BKE.B",)),
    TopicRule(name="茅台", words=("茅台",)),
    TopicRule(name="Metals", words=("acme", "C++")),
])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("ACME rises", {"Acme", "Metals"}),
        ("#acme's day", {"Acme", "Metals"}),
        ("Acmeville", set()),
        ("$ACM up, ACM!", {"Acme"}),
        ("acm", set()),
        ("XACM ACMX", set()),
        ("the Bank  of\nExampleton", {"Bank of Exampleton"}),
        ("a bank, BKE.B", {"Bank", "Bank of Exampleton"}),
        ("BKEXB", set()),
        ("贵州茅台涨停", {"茅台"}),
        ("C++ and C+", {"Metals"}),
        ("", set()),
    ],
)
def test_topics_of_a_text(text, topics):
    (result,) = RULES.find([text])
    assert set(result) == topics
    assert len(result) == len(set(result))


def test_accents_match_in_every_normal_form():
    forms = [unicodedata.normalize(form, "Société Générale É") for form in ("NFC", "NFD")]
    for rule in forms:
        rules = RuleTopics([TopicRule(name="a", words=(rule[:-2],), tickers=(rule.split()[-1],))])
        assert rules.find(forms) == [("a",), ("a",)]


def test_a_topic_file_is_read(tmp_path):
    path = tmp_path / "topics.yaml"
    path.write_text("topics:\n  - name: Acme\n    words: [Acme]\n    tickers: [ACM]\n")
    assert load_topic_rules(path) == (TopicRule(name="Acme", words=("Acme",), tickers=("ACM",)),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("topics:\n  - name: Acme\n    wrods: [a]\n", "unknown key 'topics.0.wrods': did you mean 'words'"),
        ("topics: []\n", "at least 1 item"),
        ("topics: [\n", "not valid YAML"),
        ("- a\n", "should hold keys"),
    ],
)
def test_a_wrong_topic_file_is_explained(tmp_path, content, message):
    path = tmp_path / "topics.yaml"
    path.write_text(content)
    with pytest.raises((InvalidParameter, InvalidData), match=message):
        load_topic_rules(path)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([TopicRule(name="a", words=("x",)), TopicRule(name="a", words=("y",))], "Two topics have the name 'a'"),
        ([TopicRule(name=str(n), words=("x",)) for n in range(1001)], "There are 1,001 topics; at most 1,000"),
        ([TopicRule(name="a")], "needs words or tickers"),
        ([TopicRule(name="a", words=(" ",))], "none of them empty"),
    ],
)
def test_rules_that_cannot_work_are_rejected(rules, message):
    with pytest.raises(InvalidParameter, match=message):
        RuleTopics(rules)


def test_names_of_a_tagger_are_topics_without_regard_to_case():
    class Tagger:
        def tag(self, texts):
            spans = [
                Span(0, 4, "ACME  Corp", "ORG", 1.0),
                Span(5, 9, "Acme corp", "ORG", 1.0),
                Span(9, 12, "Rome", "LOC", 1.0),
            ]
            return [TaggedText(text, spans) for text in texts]

    assert EntityTopics(Tagger(), ["ORG"]).find(["x"]) == [("acme corp",)]
    assert EntityTopics(Tagger()).find(["x"]) == [("acme corp", "rome")]
