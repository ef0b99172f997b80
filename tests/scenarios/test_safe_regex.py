"""Expressions of slots: the same matches as `re` where both exist, and linear work for any expression."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.scenarios.safe_regex import SafeRegex, compile_regex

ATOMS = st.sampled_from(["a", "b", "1", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", r"\b", "-"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, st.text("ab1- \n", max_size=8))
def test_the_match_is_the_longest_of_the_leftmost_ones(source, text):
    flags = re.IGNORECASE | re.ASCII
    lengths = [
        (start, end)
        for start in range(len(text) + 1)
        for end in range(start + 1, len(text) + 1)
        if _matches_between(source, text, start, end, flags)
    ]
    expected = None
    if lengths:
        start = min(lengths)[0]
        expected = text[start : max(end for first, end in lengths if first == start)]
    assert compile_regex(source).search(text) == expected


def _matches_between(source, text, start, end, flags):
    """True if an expression can match exactly this span. `endpos` would hide the character after it from `\\b`."""
    return re.compile(rf"(?s:.{{{start}}})(?:{source})(?=(?s:.{{{len(text) - end}}})\Z)", flags).match(text) is not None


@pytest.mark.parametrize("source", ["(a+)+b", "(a|a)*b", "(a*)*b", "(a|aa)+b", r"(\w+\s?)*b!", ".*.*.*=b"])
def test_an_expression_that_explodes_in_re_visits_each_character_once_per_state(source, monkeypatch):
    regex = SafeRegex(source)
    closures = []
    close = regex._close
    monkeypatch.setattr(regex, "_close", lambda *args: closures.append(close(*args)) or closures[-1])
    assert regex.search("a" * 3000) is None
    assert len(closures) == 3001
    assert max(map(len, closures)) <= len(regex._states)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "1 to 300 characters"),
        ("a" * 301, "1 to 300 characters"),
        ("(", r"a '\)' is missing"),
        (")", "unbalanced"),
        ("[a", "ends too early"),
        ("*a", r"'\*' cannot stand here"),
        ("a**", "cannot stand here"),
        ("^a", "cannot stand here"),
        ("(?=a)", "may only begin"),
        ("(?i)a", "may only begin"),
        (r"\1", "is not supported"),
        ("[z-a]", "is empty"),
        ("a{3", "is missing"),
        ("a{3,2}", "the smaller number first"),
        ("a{999}", "1 to 100"),
        ("a{,3}", "numbers of 1 to 3 digits"),
        ("(((a{100}){100}){100})", "too large"),
        ("(((((){100}){100}){100}){100}){100}", "too large"),
        ("(" * 50 + "a" + ")" * 50, "levels deep"),
    ],
)
def test_other_syntax_and_large_expressions_are_rejected(source, message):
    with pytest.raises(InvalidParameter, match=message):
        SafeRegex(source)


@given(st.text(max_size=20))
def test_any_text_is_an_expression_or_an_error_of_ours(source):
    try:
        regex = SafeRegex(source)
    except InvalidParameter:
        assume(False)
    regex.search("some text 123")


def test_a_chinese_character_beside_a_number_is_a_boundary():
    assert compile_regex(r"\bFH-?\d{6}\b").search("请查订单fh204518谢谢") == "fh204518"
    assert compile_regex(r"\bFH-?\d{6}\b").search("FH-2045189") is None
