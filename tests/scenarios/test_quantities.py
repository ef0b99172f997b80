"""Quantities of texts: equal values are equal in both languages and spellings."""

import pytest

from turnwise.scenarios.quantities import find_quantities


def values(text):
    return [(quantity.unit, quantity.value) for quantity in find_quantities(text)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("within 30 days", "三十天内"),
        ("a 30-day return", "30天"),
        ("3 to 5 working days", "3至5个工作日"),
        ("three to five business days", "3到5个工作日"),
        ("£6.90", "6.9英镑"),
        ("€1,200", "1200 欧元"),
        ("9 am to 6 pm", "上午9点到下午6点"),
        ("9:30", "早上9点半"),
        ("25 %", "25%"),
        ("two years", "两年"),
        ("+44 20 7946 0182", "44-20-7946-0182"),
    ],
)
def test_equal_quantities_are_equal(first, second):
    assert sorted(values(first)) == sorted(values(second)) != []


@pytest.mark.parametrize(
    "text", ["x = 3", "chapter 12", "FH-204518", "the 18 litre bag", "第3章", "page 7 of 9", "daytime"]
)
def test_other_numbers_are_no_quantities(text):
    assert values(text) == []


def test_contacts_are_quantities():
    assert values("Write to Help@Shop.example or visit 12 Tanner Row") == [
        ("email", "help@shop.example"), ("address", "12 Tanner Row"),
    ]  # fmt: skip
    assert values("地址是埃弗利市坦纳街12号") == values("店在坦纳街12号") == [("address", "坦纳街12号")]
