"""Bodies of any size are parsed without blocking the interpreter for long."""

import json

import pytest

from turnwise.server.schema import json_parser
from turnwise.server.schema.json_parser import InvalidBody, count_structure, parse_json_body


@pytest.mark.parametrize(
    "content",
    [
        {"a": [1, -0.5, 1e30, True, None, 'é\n"\\', {"b": []}]},
        {"a": "\U0001f600"},
        {"a": 10**300},
    ],
)
def test_values_are_those_of_the_standard_library(content):
    for ascii_only in (True, False):
        text = json.dumps(content, ensure_ascii=ascii_only)
        assert parse_json_body(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": [' + b",".join([b"[]"] * 1_300_000) + b"]}",
        b'{"a": [' + b",".join([b'{"": 1}'] * 500_000) + b"]}",
        b"{" + b",".join(b'"%d": 1' % i for i in range(400_000)) + b"}",
        b'{"a": [' + b",".join([b"[" * 90 + b"]" * 90] * 20_000) + b"]}",
    ],
)
def test_too_many_arrays_and_objects_are_rejected(body):
    with pytest.raises(InvalidBody, match="more than 100,000 arrays, objects and fields"):
        parse_json_body(body)


@pytest.mark.parametrize("numbers", [1_000_002, 1_950_000])
def test_too_many_values_are_rejected(numbers):
    with pytest.raises(InvalidBody, match="more than 1,000,000 values"):
        parse_json_body(b'{"prompt": [' + b",".join([b"7"] * numbers) + b"]}")


def test_commas_in_a_string_are_not_counted():
    text = "a," * 1_500_000
    assert parse_json_body(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.costly
@pytest.mark.parametrize("text", ["[{:" * 1_000_000, '\\"[' * 500_000, "\\" * 65_537 + "[" * 200_000, '"[' * 300_000])
def test_brackets_in_a_string_are_not_counted(text):
    body = json.dumps({"a": text, "b": [text]}).encode()
    assert parse_json_body(body) == {"a": text, "b": [text]}
    assert count_structure(body) == 4


def test_the_counts_agree_with_a_parser(monkeypatch):
    monkeypatch.setattr(json_parser, "_SCAN_BYTES", 5)
    content = {"a[": ['b"{', "\\", '\\"', {"c:": [[], {}, "x" * 20]}], "\\\\": "\\" * 9}
    for text in (json.dumps(content), json.dumps(content, indent=3)):
        assert count_structure(text.encode()) == 3 + 3 + 3


@pytest.mark.parametrize("body", [b'{"a": "[', b'{"a": "\\', b'"', b"", b'{"a": "' + b"[" * 300_000])
def test_an_unterminated_string_is_rejected(body):
    count_structure(body)
    with pytest.raises(InvalidBody):
        parse_json_body(body)


def test_an_error_in_a_long_body_has_a_position():
    with pytest.raises(InvalidBody, match="line 1, column"):
        parse_json_body(b'{"a": "' + b"x" * 20_000 + b'", }')
