"""The check: it counts rightly, finds what is wrong, and says where and what to do."""

import io
import json

import pytest
from rich.console import Console

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.check import check_data
from turnwise.data.check_report import print_report
from turnwise.data.fingerprint import normalize_text
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.rows import Document


def chat(*turns: str, system: str | None = None) -> Conversation:
    said = [Message("assistant" if n % 2 else "user", text) for n, text in enumerate(turns)]
    return Conversation(((Message("system", system),) if system else ()) + tuple(said))


@pytest.fixture
def look(tmp_path):
    def look(*items, against=(), raw="", **how):
        write_jsonl(tmp_path / "data.jsonl", items)
        with (tmp_path / "data.jsonl").open("a") as file:
            file.write(raw)
        if against:
            write_jsonl(tmp_path / "test.jsonl", against)
            how["against"] = [tmp_path / "test.jsonl"]
        return check_data([tmp_path / "data.jsonl"], **how)

    return look


def finding(report, kind):
    return next((found for found in report.findings if found.kind == kind), None)


def test_clean_data_is_called_usable_and_nothing_is_found(look):
    report = look(chat("hi", "hello"), chat("and you?", "fine"))
    assert report.findings == ()
    assert report.usable
    assert report.verdict == "Usable: 2 of 2 rows can be trained on, and there are no warnings."


def test_counts_and_lengths(look):
    report = look(chat("a b", "c"), chat("d", "e", "f g h", "i", system="s"), Document("one two three"))
    assert (report.rows, report.conversations, report.documents, report.bad_rows) == (3, 2, 1, 0)
    assert report.messages == {"system": 1, "user": 3, "assistant": 3}
    turns = report.lengths["turns per dialogue"]
    assert (turns.min, turns.median, turns.p90, turns.max, turns.total) == (2, 2, 4, 4, 6)
    assert report.lengths["characters per dialogue"].max == len("sdef g hi")
    assert report.lengths["words per dialogue"].total == 3 + 7
    assert report.lengths["words per document"].total == 3
    assert "tokens per dialogue" not in report.lengths


def test_tokens_are_counted_by_who_can(look):
    assert look(chat("hi", "you"), count_tokens=len).lengths["tokens per dialogue"].total == 5


def test_bad_rows_are_listed_with_line_and_reason_twenty_at_most(look):
    report = look(chat("hi", "hello"), raw="oops\n" * 30)
    found = finding(report, "bad rows")
    assert found.count == report.bad_rows == 30
    assert len(found.locations) == 20
    assert "data.jsonl, line 2: it is not valid JSON" in found.locations[0]
    assert "Expected" in found.locations[0]
    assert report.usable
    assert "1 of 31 rows" in report.verdict


def test_duplicates_and_near_duplicates_are_told_apart(look):
    report = look(chat("Hi there", "yes"), chat("Hi there", "yes"), chat("hi, THERE!", "Yes."), chat("hi", "yes"))
    assert finding(report, "exact duplicates").locations[0].endswith("data.jsonl:1")
    assert ":2 repeats" in finding(report, "exact duplicates").locations[0]
    assert ":3 is nearly" in finding(report, "near duplicates").locations[0]
    assert finding(report, "near duplicates").count == finding(report, "exact duplicates").count == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello, world!", "hello   world", True),
        ("你好！", "你好", True),
        ("ＡＢＣ", "abc", True),
        ("What is 6 + 4?", "what is 6+4", True),
        ("What is 6 + 4?", "What is 6 - 4?", False),
        ("?", "!", False),
        ("3.5", "35", False),
    ],
)
def test_what_counts_as_the_same(one, other, same):
    assert (normalize_text(one) == normalize_text(other)) is same


def test_leaks_between_training_and_test_data(look):
    report = look(
        chat("hi", "hello"), chat("How are you?", "fine"), chat("who?", "me"),
        against=[chat("HI!", "Hello"), chat("how are you", "so so")],
    )  # fmt: skip
    assert finding(report, "leaks").count == 1
    assert finding(report, "leaks").locations[0].endswith("test.jsonl:1")
    assert "test.jsonl" in finding(report, "leaks").message
    assert finding(report, "shared openings").count == 1


def test_one_sided_dialogues(look):
    report = look(
        chat("hello?"), Conversation((Message("assistant", "x"),)), chat("hi", "hello", "bye"), chat("hi", "hello")
    )
    assert finding(report, "no assistant turn").locations[0].endswith(":1")
    assert finding(report, "no user turn").locations[0].endswith(":2")
    assert finding(report, "ends on a user turn").locations[0].endswith(":3")
    assert report.usable_rows == 3


def test_data_without_a_single_reply_is_not_usable(look):
    report = look(chat("hello?"))
    assert not report.usable
    assert report.verdict.startswith("Not usable")


def test_placeholders_are_found_and_code_is_not_one(look):
    report = look(
        chat("call?", "Call {{Phone Number}}."), chat("and?", "Dear [Your Name],"), chat("list?", "x[1] <b> {a}")
    )
    assert finding(report, "placeholders").count == 2
    assert "{{Phone Number}}" in finding(report, "placeholders").message


def test_very_long_rows_stand_out(look):
    report = look(*[chat(f"question {n}", "short") for n in range(30)], chat("q", "x" * 9000))
    assert finding(report, "very long").count == 1
    assert ":31" in finding(report, "very long").locations[0]


def test_the_language_is_guessed_roughly(look):
    assert look(chat("hi", "hello")).language == "alphabetic"
    assert look(chat("你好", "你好，你是谁？")).language == "Chinese, Japanese or Korean"
    assert look(chat("你好", "hello to you all today")).language == "mixed"


def test_the_report_is_json_and_prints(look):
    report = look(chat("hi", "Dear {{Name [x]}}"), chat("hello?"), raw="oops\n")
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["verdict"] == report.verdict
    assert plain["lengths"]["turns per dialogue"]["max"] == 2
    out = io.StringIO()
    print_report(report, Console(file=out, width=200))
    for word in ("bad rows", "{{Name [x]}}", "line 3", report.verdict, "--skip-bad-rows"):
        assert word in out.getvalue()


def test_every_finding_says_what_to_do(look):
    report = look(chat("hi", "{{x}}"), chat("hi", "{{x}}"), chat("hello?"), raw="oops\n")
    assert len(report.findings) >= 4
    assert all(found.advice and found.message for found in report.findings)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InvalidData):
        check_data([tmp_path / "none.jsonl"])
