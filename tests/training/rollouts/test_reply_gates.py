"""The gates of sampled replies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.training.rollouts.gates import check_reply, required_values

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
        ("Sino 2 11:30 " + "yes I do it " * 4, "has_no_loop"),
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
    assert required_values(human, context) == {"{{Order Number}}", "Smith"}


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_human_reply_fails_only_for_a_loop_or_no_words(human, context):
    report = check_reply(human, human, context)
    assert report.fits_length
    assert report.has_values
    assert 0.5 <= report.share <= 1
