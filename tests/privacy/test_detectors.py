"""Detectors by rules: what each one detects, and what looks similar and is none."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from turnwise.core.errors import UserError
from turnwise.core.personal_data import PERSONAL_DATA_KINDS
from turnwise.privacy import patterns
from turnwise.privacy.detection import CombinedDetector
from turnwise.privacy.detectors import DETECTORS, load_detectors
from turnwise.privacy.detectors.card import is_card_number
from turnwise.privacy.detectors.china_id import is_resident_number

DETECTED = [
    ("email", "write to ann.lee+shop@example.co.uk.", "ann.lee+shop@example.co.uk"),
    ("email", "邮箱ann@example.cn谢谢", "ann@example.cn"),
    ("url", "see https://ann:pw@example.com/a, please", "https://ann:pw@example.com/a"),
    ("url", "https://example.com/r?email=ann%40example.com", "https://example.com/r?email=ann%40example.com"),
    ("ip", "blocked 203.0.113.7.", "203.0.113.7"),
    ("ip", "from 2001:db8::8a2e:370:7334 only", "2001:db8::8a2e:370:7334"),
    ("phone", "call (415) 555-2671 today", "(415) 555-2671"),
    ("phone", "ring +44 20 7946 0958", "+44 20 7946 0958"),
    ("phone", "手机13812345678谢谢", "13812345678"),
    ("phone", "座机010-62345678", "010-62345678"),
    ("card", "card 4111 1111 1111 1111 expires", "4111 1111 1111 1111"),
    ("card", "my card number is: 1234567890123", "1234567890123"),
    ("iban", "iban gb29 nwbk 6016 1331 9268 19 thanks", "gb29 nwbk 6016 1331 9268 19"),
    ("id_number", "身份证110101199003077619", "110101199003077619"),
    ("company_id", "税号91110108MA01A2B3CF", "91110108MA01A2B3CF"),
    ("id_number", "ssn 536-90-4399", "536-90-4399"),
    ("id_number", "NHS number 943 476 5919", "943 476 5919"),
    ("passport", "passport number is L8765432", "L8765432"),
    ("passport", "护照号E12345678", "E12345678"),
    ("plate", "京A88G21停在门口", "京A88G21"),
    ("plate", "plate BD51 SMR", "BD51 SMR"),
    ("birth_date", "I was born on 14 March 1986.", "14 March 1986"),
    ("birth_date", "1990年3月7日出生", "1990年3月7日"),
    ("account", "order number: A-88213-77", "A-88213-77"),
    ("account", "订单号20240618993201", "20240618993201"),
    ("secret", "my password is hunter2!", "hunter2!"),
    ("secret", "密码是Abc@12345,谢谢", "Abc@12345"),
    ("secret", "key sk-9aB3xYz71LmNoPqRsTuVw2", "sk-9aB3xYz71LmNoPqRsTuVw2"),
    ("secret", "the pin is 4471", "4471"),
    ("secret", "my password is Ally", "Ally"),  # a part of "usually"
    ("url", "https://example.com/a,b(c)?token=x1", "https://example.com/a,b(c)?token=x1"),
]
# Punctuation, letters and digits of full width, as in most Chinese texts: colon, parentheses, comma, at sign.
FULL_WIDTH = [
    ("secret", "密码\uff1aabc12345\uff0c谢谢", "abc12345"),
    ("id_number", "身份证\uff1a123456789012345", "123456789012345"),
    ("birth_date", "生日\uff1a1990-01-02", "1990-01-02"),
    ("card", "卡号\uff1a1234567890123", "1234567890123"),
    ("phone", "\uff08010\uff0962345678", "\uff08010\uff0962345678"),
    ("email", "邮箱ann\uff20example.org", "ann\uff20example.org"),
    ("id_number", "身份证\uff11\uff11" + "0101199003077619", "\uff11\uff11" + "0101199003077619"),
]
HARMLESS = [
    "version 10.0.0.1 is out",
    "127.0.0.1 is this machine",
    "https://example.com/help?page=2",
    "The password is too short.",
    "How do I reset my password?",
    "ISBN 978-0-13-468599-1",
    "It costs 1,299.00 or 12345678.",
    "on 2024-05-17 10:30",
    "I was born in Italy.",
    "I ordered 12 of them.",
    "4111 1111 1111 1112",
    "密码至少要8位",
    "订单什么时候到",
    "圆周率约等于3.1415926",
    "2024年5月1日放假",
]


def detect(text):
    return {(span.kind, text[span.start : span.end]) for detector in load_detectors() for span in detector.detect(text)}


@pytest.mark.parametrize(("kind", "text", "value"), DETECTED)
def test_a_value_is_detected_without_the_text_around_it(kind, text, value):
    assert (kind, value) in detect(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_similar_texts_are_not_detected(text):
    assert not detect(text)


@pytest.mark.parametrize(("kind", "text", "value"), FULL_WIDTH)
def test_characters_of_full_width_count_as_the_narrow_ones(kind, text, value):
    spans = CombinedDetector(load_detectors()).detect(text)
    assert [(span.kind, text[span.start : span.end]) for span in spans] == [(kind, value)]


def test_a_run_of_colons_after_a_word_is_searched_in_polynomial_time():
    assert not detect("card" + ":" * 200)


@given(st.text(max_size=80))
def test_spans_lie_in_the_text_and_are_of_a_declared_kind(text):
    for detector in load_detectors():
        for span in detector.detect(text):
            assert 0 <= span.start < span.end <= len(text)
            assert span.kind in PERSONAL_DATA_KINDS


@given(st.text("0123456789", min_size=14, max_size=18))
def test_the_check_digit_of_a_card_is_that_of_luhn(digits):
    number = f"4{digits[1:]}"
    assert is_card_number(number) == luhn.is_valid(number)


@given(st.integers(0, 16), st.integers(1, 9))
def test_a_wrong_digit_makes_an_identity_number_invalid(position, difference):
    number = "110101199003077619"
    changed = str((int(number[position]) + difference) % 10)
    assert is_resident_number(number)
    assert not is_resident_number(number[:position] + changed + number[position + 1 :])


def test_without_the_libraries_the_error_names_the_extra():
    with pytest.raises(UserError, match=r"pip install 'turnwise\[privacy\]'"):
        patterns.load_library("a_library_that_is_not_installed")


@pytest.mark.parametrize("library", ["phonenumbers", "stdnum"])
def test_a_missing_library_is_reported_before_anything_is_read(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    load_detectors.cache_clear()
    with pytest.raises(UserError, match=r"turnwise\[privacy\]"):
        load_detectors()


def test_every_detector_is_a_plugin():
    assert {"email", "phone", "card", "china_id", "secret"} <= set(DETECTORS.names())
