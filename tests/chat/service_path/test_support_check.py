"""What counts as supported by passages: numbers, names and negations exactly, other words by their share."""

import pytest

from turnwise.chat.service_path.fact_evidence import FactEvidence
from turnwise.chat.service_path.support_check import check_support, cite
from turnwise.chat.service_path.text_evidence import content_words, names, numbers, sentences
from turnwise.core.retrieval import Passage, PassageLocation

PASSAGES = [
    Passage("Delivery costs £4.50. Orders above £1,000 are sent by Parcel Force on 2026-12-24.", "Delivery"),
    Passage("退货期为30天。运费由我们承担。", "退货"),
]
HOURS = "Monday to Friday, 9:00 to 17:30"
FACTS = [FactEvidence(Passage(HOURS, "facts.yaml, opening_hours"), content_words(f"opening hours {HOURS}"))]


def is_supported(answer):
    return check_support(answer, PASSAGES, FACTS, 0.6).is_supported


@pytest.mark.parametrize(
    "answer",
    [
        "Delivery costs £4.50.", "Orders above £1000 are sent by Parcel Force.", "They are sent on 2026-12-24.",
        "Delivery: Monday to Friday, 9:00 to 17:30.", "退货期为30天。", "运费由我们承担。",
        "Our opening hours are Monday to Friday, 9:00 to 17:30.", "It is. Delivery costs £4.50.",
    ],
)  # fmt: skip
def test_what_the_passages_or_the_facts_say_is_supported(answer):
    assert is_supported(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Delivery costs £4.55.", "Delivery costs £450.", "Orders above £100 are sent by Parcel Force.",
        "They are sent on 2026-12-25.", "Orders are sent by Royal Mail.", "Delivery does not cost £4.50.",
        "Delivery costs £4.50. Returns are always free for gold members.", "Monday to Friday, 9:00 to 18:00.",
        "退货期为15天。", "运费不由我们承担。", "退货期为三十天。", "", "No. Delivery costs £4.50.", "It is.",
        "We are not open Monday to Friday, 9:00 to 17:30.",
    ],
)  # fmt: skip
def test_another_number_name_date_or_negation_is_not(answer):
    assert not is_supported(answer)


def test_each_sentence_cites_the_passage_that_supports_it():
    location = PassageLocation("ab" * 32, 10, 30, ("Returns",), 2)
    passages = [Passage("Lamps are red.", "a"), Passage("Shades are blue. Bulbs are white.", "b", location=location)]
    support = check_support("Shades are blue. Bulbs are white. Lamps are red.", passages, [], 0.6)
    assert (support.is_supported, support.passages) == (True, (1, 1, 0))
    text, citations = cite(support.sentences, support.passages, passages)
    assert text == "Shades are blue. Bulbs are white. [1] Lamps are red. [2]"
    assert [(citation.number, citation.source) for citation in citations] == [(1, "b"), (2, "a")]
    assert (citations[0].document_hash, citations[0].start, citations[0].end, citations[0].page) == (
        "ab" * 32,
        10,
        30,
        2,
    )


def test_a_sentence_that_a_fact_supports_cites_the_file_of_facts():
    support = check_support("We are open Monday to Friday, 9:00 to 17:30.", PASSAGES, FACTS, 0.6)
    assert (support.is_supported, support.passages) == (True, (2,))
    text, (citation,) = cite(support.sentences, support.passages, [*PASSAGES, FACTS[0].passage])
    assert text == "We are open Monday to Friday, 9:00 to 17:30. [1]"
    assert (citation.source, citation.text) == ("facts.yaml, opening_hours", HOURS)


@pytest.mark.parametrize(
    ("passage", "answer", "is_right"),
    [
        ("Lamps opened by Friday at 17:30 are not taken back.", "We are open Monday to Friday, 9:00 to 17:30.", True),
        ("Bulbs are covered. Bulbs are not covered for gold members.", "Bulbs are covered.", True),
        ("Bulbs are not covered for gold members. Bulbs are covered.", "Bulbs are covered.", True),
        ("Bulbs are not covered. Lamps with bulbs are covered for 24 months.", "Bulbs are covered.", False),
        ("Lamps are covered. A broken bulb is not covered.", "A broken bulb is covered.", False),
    ],
)
def test_negation_is_compared_with_the_evidence_that_supports_the_sentence(passage, answer, is_right):
    assert check_support(answer, [Passage(passage, "a")], FACTS, 0.6).is_supported == is_right


def test_a_sentence_without_content_has_the_citation_of_its_neighbour():
    support = check_support("It is. 运费由我们承担。 It is.", PASSAGES, FACTS, 0.6)
    assert (support.is_supported, support.passages) == (True, (1, 1, 1))


def test_numbers_are_compared_as_written_but_for_separators_of_thousands():
    assert numbers("1,000 or 1000.5, 12:30, LW-123456, ３０天, 3.") == {
        "1000",
        "1000.5",
        "12:30",
        "LW-123456",
        "30",
        "3",
    }
    assert numbers("三十天 and 两个") == {"三十", "两"}


def test_names_are_capitalised_words_that_do_not_only_begin_a_sentence():
    assert names("The parcel goes to Berlin. Ask Ada Lovelace at IBM.") == {"berlin", "ada", "lovelace", "ibm"}


def test_content_words_of_both_languages():
    assert content_words("Where are my lamps?") == {"lamp"}
    assert content_words("退货期") == {"退", "货", "期", "退货", "货期"}
    assert sentences("One. Two!\n三。四？") == ["One.", "Two!", "三。", "四？"]
