"""What is quoted of passages, word for word."""

import pytest

from turnwise.chat.service_path.passage_finders import ScoredPassage
from turnwise.chat.service_path.quotations import add_passage, quote_passages
from turnwise.chat.service_path.turn import ServiceAnswer
from turnwise.core.retrieval import Passage

TEMPLATE = ServiceAnswer("template:return_item", "You can return unused items.")


def found(text, relevance, measure="similarity", **metadata):
    passage = Passage(text, "Returns", metadata)
    return ScoredPassage(passage, passage, relevance, measure)


@pytest.mark.parametrize(
    ("relevances", "text"),
    [
        ([0.5, 0.36, 0.35], "First one. [1] Second one. [2]"),
        ([0.5, 0.34, 0.1], "First one. [1]"),
    ],
)
def test_the_second_passage_is_quoted_if_it_is_nearly_as_similar(relevances, text):
    texts = ["First one.", "Second one.", "Third one."]
    answer = quote_passages("which one", [found(*item) for item in zip(texts, relevances, strict=True)])
    assert answer.text == text
    assert [citation.text for citation in answer.citations] == texts[: text.count("[")]


def test_of_a_long_passage_the_best_sentence_is_quoted():
    long = "Wash it by hand. " + "It is made of many threads of many colours. " * 12 + "It shrinks at 60 degrees."
    assert quote_passages("does it shrink", [found(long, 0.4)]).text == "It shrinks at 60 degrees. [1]"


def test_of_passages_that_were_found_by_words_the_best_sentence_is_quoted():
    passages = [found("It is blue. It weighs 900 g.", 0.5, "words"), found("It is heavy.", 0.5, "words")]
    assert quote_passages("how much does it weigh?", passages).text == "It weighs 900 g. [1]"


def test_a_passage_that_is_much_closer_to_the_message_follows_a_template():
    answer = add_passage("on sale?", TEMPLATE, [found("Reduced items too.", 0.31)], threshold=0.24)
    assert answer.text == "You can return unused items. Reduced items too. [1]"
    assert answer.decision == TEMPLATE.decision
    assert [citation.text for citation in answer.citations] == ["Reduced items too."]


@pytest.mark.parametrize(
    "passages",
    [
        [],
        [found("Reduced items too.", 0.29)],  # not similar enough
        [found("Reduced items too.", 0.9, "words")],
        [found("Another template.", 0.6, intent="refund_when"), found("Reduced items too.", 0.5)],
    ],
)
def test_other_templates_stay_as_they_are(passages):
    assert add_passage("on sale?", TEMPLATE, passages, threshold=0.24) is TEMPLATE
