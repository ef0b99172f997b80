"""What counts as a choice between the options of a question: the whole message, not a word in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.chat.service_path.offered_choice import choose_offered

LABELS = ["returning a product", "exchanging a product"]
CHINESE_LABELS = ["退货", "换货"]


@pytest.mark.parametrize(
    ("message", "index"),
    [
        ("1", 0), ("2)", 1), ("The first one, please!", 0), ("option 2", 1), ("it's the second one", 1), ("No. 2", 1),
        ("the latter", 1), ("Returning a product.", 0), ("exchanging", 1), ("第一个", 0), ("第二个吧", 1), ("２", 1),
        ("我想问第二个", 1), ("后者", 1), ("换货", 1),
    ],
)  # fmt: skip
def test_a_message_that_is_a_choice_chooses(message, index):
    assert choose_offered(message, CHINESE_LABELS if "货" in message else LABELS) == index


@pytest.mark.parametrize(
    "message",
    [
        "1 lamp please", "first of all, where is my parcel?", "the first one did not arrive", "I have 2 questions",
        "one moment please", "a product", "yes", "no", "", "12", "1个灯罩多少钱", "第一次购买怎么付款", "第二天能到吗",
        "都不是",
    ],
)  # fmt: skip
def test_a_message_that_only_mentions_a_number_or_what_both_share_does_not(message):
    assert choose_offered(message, LABELS) is None
    assert choose_offered(message, CHINESE_LABELS) is None


@given(st.sampled_from(["1", "first", "the second", "option 2"]), st.text("bdfgjklmqvwxz", min_size=3, max_size=9))
def test_a_position_with_any_other_word_chooses_nothing(position, word):
    assert choose_offered(position, LABELS) is not None
    assert choose_offered(f"{position} {word}", LABELS) is None
    assert choose_offered(f"{word} {position}", LABELS) is None


@given(st.sampled_from(LABELS + CHINESE_LABELS), st.sampled_from(["", ".", "!", " ？"]))
def test_a_label_chooses_its_option_whatever_its_case_and_punctuation(label, end):
    labels = LABELS if label in LABELS else CHINESE_LABELS
    assert choose_offered(label.upper() + end, labels) == labels.index(label)
