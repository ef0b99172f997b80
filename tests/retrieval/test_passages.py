"""Division into passages: nothing is lost or repeated, sections and pairs stay together, nothing is too long."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.retrieval.parsed_document import Block, ParsedDocument
from turnwise.retrieval.passages import PassageSizes, divide_into_passages
from turnwise.retrieval.text_boundaries import character_boundary
from turnwise.retrieval.token_estimate import estimate_tokens

SMALL = PassageSizes(min_tokens=12, max_tokens=24, tiny_tokens=4)
CHARACTERS = ["e", "中", "e\u0301\u0327", "👨‍👩‍👧", "👍🏽", "🇩🇪", "☎️", "क्षि"]
PIECES = st.one_of(
    st.sampled_from(
        [
            "word ",
            "Ends here. ",
            "中文句子。",
            "a\n",
            "\n\n",
            "e\u0301",
            "👨‍👩‍👧",
            "👍🏽",
            "🇩🇪",
            " | ",
            "x" * 40,
            "：",
            "3.5 ",
        ]
    ),
    st.characters(codec="utf-8"),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=60).map(lambda pieces: "".join(pieces).strip()).filter(bool)
HEADINGS = st.builds(lambda text, level: Block("heading", text, level), TEXTS, st.integers(1, 6))
OTHERS = st.builds(
    Block, st.sampled_from(["paragraph", "list_item", "table_row", "code", "question", "answer"]), TEXTS,
    page=st.one_of(st.none(), st.integers(1, 3)),
)  # fmt: skip
DOCUMENTS = st.lists(st.one_of(OTHERS, HEADINGS), max_size=12)


def divide(blocks, sizes=None, **options):
    return list(divide_into_passages(blocks, sizes, **options))


def words(count, word="word"):
    return " ".join([word] * count)


def count_words(text):
    return len(text.split())


@given(DOCUMENTS)
def test_passages_are_parts_of_the_text_in_order_and_cover_every_visible_character(blocks):
    text = ParsedDocument(blocks).text
    passages = divide(blocks, SMALL)
    for passage in passages:
        assert text[passage.span.start : passage.span.end] == passage.text
    for first, second in pairwise(passages):
        assert first.span.end <= second.span.start
    between = [0, *(position for passage in passages for position in (passage.span.start, passage.span.end)), len(text)]
    for start, end in zip(between[::2], between[1::2], strict=True):
        assert not text[start:end].strip()


@given(DOCUMENTS, st.sampled_from([estimate_tokens, len, count_words]))
def test_no_passage_is_longer_than_the_limit(blocks, count_tokens):
    for passage in divide(blocks, SMALL, count_tokens=count_tokens):
        # `len` counts the white space between blocks, which is in none of them.
        limit = 24 + (sum(map(str.isspace, passage.text)) if count_tokens is len else 0)
        assert count_tokens(passage.text) <= limit + 1e-6


@given(st.lists(st.sampled_from(CHARACTERS), min_size=1, max_size=80))
def test_a_text_without_spaces_is_cut_between_what_readers_see_as_characters(characters):
    boundaries = {0, *accumulate(map(len, characters))}
    passages = divide([Block("paragraph", "".join(characters))], SMALL, count_tokens=len)
    assert {position for passage in passages for position in (passage.span.start, passage.span.end)} <= boundaries


@given(DOCUMENTS)
def test_division_is_deterministic_and_needs_the_blocks_once(blocks):
    assert divide(blocks, SMALL) == divide(iter(blocks), SMALL)


def test_passages_come_before_all_blocks_are_read():
    num_read = 0

    def blocks():
        nonlocal num_read
        for _ in range(10_000):
            num_read += 1
            yield Block("table_row", "Name: " + words(20))

    passages = divide_into_passages(blocks())
    first = next(passages)
    assert num_read < 60
    assert 156 <= estimate_tokens(first.text) <= 286
    assert sum(1 for _ in passages) > 500


def test_a_passage_ends_at_a_heading_and_has_the_headings_above_it():
    passages = divide([
        Block("heading", "Shop", 1),
        Block("heading", "Returns", 2),
        Block("paragraph", words(130, "return")),
        Block("heading", "Shipping", 2),
        Block("paragraph", words(130, "ship")),
        Block("heading", "Contact", 1),
        Block("paragraph", words(130, "call")),
    ])  # fmt: skip
    assert [passage.span.headings for passage in passages] == [("Shop", "Returns"), ("Shop", "Shipping"), ("Contact",)]
    assert [passage.text.split()[-1] for passage in passages] == ["return", "ship", "call"]


def test_sections_of_the_same_name_are_different_sections():
    section = [Block("heading", "Notes", 2), Block("paragraph", words(8))]
    (passage,) = divide([Block("heading", "A", 1), *section, Block("heading", "B", 1), *section])
    assert passage.span.headings == ()


def test_tiny_sections_are_joined_and_have_the_headings_that_they_share():
    (passage,) = divide([
        Block("heading", "Hours", 1),
        Block("heading", "Monday", 2),
        Block("paragraph", "9 to 5"),
        Block("heading", "Tuesday", 2),
        Block("paragraph", "9 to 6"),
    ])  # fmt: skip
    assert passage.span.headings == ("Hours",)


def test_a_heading_stays_with_what_follows_it():
    passages = divide([
        Block("heading", "Part", 1),
        Block("paragraph", words(20)),
        Block("heading", "Detail", 2),
        Block("paragraph", words(210, "detail")),
    ])  # fmt: skip
    assert passages[-1].text.startswith("Detail\n\ndetail")


def test_a_heading_stays_with_a_paragraph_that_fills_a_passage_alone():
    passages = divide([Block("heading", words(5, "Title"), 1), Block("paragraph", "One more. " * 109 + "End.")])
    assert passages[0].text.startswith("Title Title Title Title Title\n\nOne more.")


def test_every_pair_of_question_and_answer_is_a_passage():
    pairs = [Block(kind, f"{kind} {number}") for number in range(3) for kind in ("question", "answer")]
    passages = divide([Block("heading", "FAQ", 1), *pairs])
    assert [passage.text for passage in passages] == [
        "FAQ\n\nquestion 0\n\nanswer 0", "question 1\n\nanswer 1", "question 2\n\nanswer 2",
    ]  # fmt: skip


def test_a_question_stays_with_the_beginning_of_a_long_answer():
    answer = " ".join(f"Step {number} is done." for number in range(200))
    passages = divide([Block("question", "How is it done?"), Block("answer", answer)])
    assert passages[0].text.startswith("How is it done?\n\nStep 0 is done. Step 1 is done.")
    assert len(passages) > 3
    assert estimate_tokens(passages[-1].text) > 100


def test_an_answer_that_fits_only_alone_is_cut_for_its_question():
    question, answer = words(30, "why"), " ".join(["Because it is so."] * 50)
    assert 200 < estimate_tokens(answer) <= 286
    passages = divide([Block("question", question), Block("answer", answer)])
    assert passages[0].text.startswith(f"{question}\n\nBecause")


def test_rows_of_a_table_are_grouped():
    passages = divide([Block("table_row", f"Name: item {number} | Price: {number} EUR") for number in range(100)])
    assert all(passage.text.startswith("Name: ") and passage.text.endswith(" EUR") for passage in passages)
    assert all(passage.text.count("Name:") > 10 for passage in passages[:-1])


def test_a_row_that_is_too_long_is_cut_between_cells():
    row = " | ".join(f"Column {number}: {words(20)}" for number in range(30))
    passages = divide([Block("table_row", row)])
    assert len(passages) > 2
    assert all(passage.text.startswith("Column ") for passage in passages)


def test_code_that_fits_is_not_cut_and_longer_code_is_cut_between_lines():
    code = "\n".join(f"value_{number} = compute({number})" for number in range(40))
    passages = divide([Block("paragraph", words(150)), Block("code", code)])
    assert passages[1].text == code
    passages = divide([Block("code", "\n".join([code] * 4))])
    assert all(passage.text.startswith("value_") and passage.text.endswith(")") for passage in passages)


@pytest.mark.parametrize(
    ("text", "endings"),
    [
        ("This costs 3.50 EUR, e.g. for Dr. Smith. Really? Yes! " * 40, (".", "?", "!")),
        ("退货需要七天。真的吗？是的！他说：“可以。”" * 40, ("。", "？", "！", "”")),
    ],
)
def test_prose_that_is_too_long_is_cut_after_sentences(text, endings):
    passages = divide([Block("paragraph", text.strip())])
    assert len(passages) > 2
    assert all(passage.text.endswith(endings) and not passage.text.endswith(("e.g.", "Dr.")) for passage in passages)


def test_lines_that_were_broken_to_fit_a_page_are_no_sentences():
    text = "\n".join(["This sentence is broken", "to fit a narrow page. And another", "one follows it."] * 60)
    assert all(passage.text.endswith(".") for passage in divide([Block("paragraph", text)]))


def test_lines_without_the_end_of_a_sentence_are_cut_between_lines():
    text = "\n".join(f"- item {number} of a list" for number in range(200))
    passages = divide([Block("answer", text)])
    assert len(passages) > 2
    assert all(passage.text.startswith("- item") and passage.text.endswith("list") for passage in passages)


def test_a_sentence_that_is_too_long_is_cut_between_words():
    passages = divide([Block("paragraph", words(1000, "number"))])
    assert {word for passage in passages for word in passage.text.split()} == {"number"}


def test_the_end_of_a_section_is_balanced_with_the_passage_before():
    passages = divide([Block("paragraph", "These are four words. " * 60)])
    sizes = [estimate_tokens(passage.text) for passage in passages]
    assert len(sizes) == 2
    assert min(sizes) > 130


def test_the_page_is_that_of_the_first_character():
    blocks = [Block("paragraph", words(150), page=3), Block("paragraph", words(150), page=4)]
    assert [passage.span.page for passage in divide(blocks)] == [3, 4]


def test_a_document_without_blocks_has_no_passages():
    assert divide([]) == []


def test_sizes_that_contradict_each_other_are_refused():
    with pytest.raises(InvalidParameter, match="order"):
        PassageSizes(min_tokens=300, max_tokens=200)
    with pytest.raises(InvalidParameter, match="at least"):
        PassageSizes(min_tokens=1, max_tokens=2, tiny_tokens=0)


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_parts_of_a_text_have_at_least_the_tokens_of_the_whole(first, second):
    assert estimate_tokens(first) + estimate_tokens(second) >= estimate_tokens(first + second) - 1e-6


def test_the_estimate_counts_chinese_characters_and_english_words():
    assert estimate_tokens("退货需要七天") == 6
    assert estimate_tokens(words(100)) == pytest.approx(130)


@pytest.mark.parametrize(
    ("text", "position", "boundary"),
    [
        ("abc", 2, 2),
        ("ae\u0301b", 2, 1),
        ("a👍🏽", 2, 1),
        ("ab👨‍👩‍👧", 5, 2),
        ("a" + "\u0301" * 5, 3, 3),
        ("ab", 2, 2),
        ("a🇩🇪🇫🇷", 4, 3),
    ],
)
def test_the_nearest_boundary_between_characters(text, position, boundary):
    assert character_boundary(text, position, 1) == boundary
