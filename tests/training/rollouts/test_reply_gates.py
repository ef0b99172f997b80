"""The gates of sampled replies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.training.rollouts.gates import check_reply, extract_values, has_loop, required_names, required_values

CONTEXT = "user\nI want a table at Sino in San Jose for 2 at 11:30.\nassistant\n"
HUMAN = "I will book a table for 2 at Sino at 11:30. Shall I go on?"


@pytest.mark.parametrize(
    ("reply", "failed"),
    [
        (HUMAN, None),
        ("Should I reserve Sino for 2 people at 11:30 then, is that right?", None),
        ("Should I reserve Sino for 2 people at 12:30 then, is that right?", "has_values"),
        ("Sino 2 11:30", "fits_length"),
        (f"{HUMAN} {HUMAN} {HUMAN}", "fits_length"),
        ("Sino 2 11:30 " + "yes I do it " * 2, "has_no_loop"),
        ("", "is_complete"),
    ],
)
def test_a_reply_fails_the_gate_of_its_fault(reply, failed):
    report = check_reply(reply, HUMAN, CONTEXT)
    assert report.is_passed == (failed is None)
    assert failed is None or not getattr(report, failed)


def test_a_reply_that_was_cut_off_does_not_pass():
    assert not check_reply(HUMAN, HUMAN, CONTEXT, is_complete=False).is_passed


def test_only_values_that_the_context_gives_are_required():
    human = "Order {{Order Number}} of 3 books is at Baker Street; call 555-0100 and ask for Smith."
    context = "where is my order {{Order Number}}? I am Smith"
    assert required_values(human, context) == {"{{ordernumber}}"}
    assert required_names(human, context) == {"Smith"}
    assert required_values("It costs 40 for 2", "for 2 at 5 pm") == {"2"}


def test_values_are_slots_addresses_numbers_times_and_quoted_names():
    text = 'Call {{Support Phone}} or 408-971-8523 at 5:00 PM about “Blue Moon” and "Red Sun", order #00123.'
    assert extract_values(text) == {"{{supportphone}}", "408-971-8523", "5", "bluemoon", "redsun", "00123"}
    assert extract_values("See https://a.example/x. Write to A.B@shop.example.") == {
        "https://a.example/x", "a.b@shop.example",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "has_values"),
    [
        ("A table for 2 at the Sino for you.", True),
        ("A table for 12 at the Sino for you.", False),  # 12 is not 2
        ("A table for 2 at the Sinology for you.", False),
    ],
)
def test_a_part_of_a_value_or_a_name_is_not_the_value(reply, has_values):
    assert check_reply(reply, "Your table for 2 at Sino.", "A table at Sino for 2").has_values == has_values


def test_a_value_is_not_required_for_a_longer_one_in_the_context():
    assert required_values("I see 2 tables", "at 12:30") == set()
    assert required_names("It is at Sino", "a book on sinology") == set()


def test_a_long_reply_may_repeat_a_phrase_once():
    words = [f"word{index}" for index in range(60)]
    once = " ".join([*words, *words[:4]])
    assert not has_loop(once)
    assert has_loop(" ".join([once, *words[:4]]))
    assert has_loop("please call us now, please call us now")


WORDS = ("ok", "7:30", "{{My Name}}", '"Blue Moon"', "42", "Smith's", "a, Bar-", "5Ann")
TEXTS = st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)


@given(TEXTS, TEXTS)
def test_the_human_reply_fails_only_for_a_loop_or_no_words(human, context):
    report = check_reply(human, human, context)
    assert report.fits_length
    assert report.has_values
    assert 0.5 <= report.share <= 1
