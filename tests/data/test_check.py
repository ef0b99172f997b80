"""The data check: counts, findings with locations and advice, the verdict."""

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
    messages = [Message("assistant" if n % 2 else "user", text) for n, text in enumerate(turns)]
    return Conversation(((Message("system", system),) if system else ()) + tuple(messages))


@pytest.fixture
def check(tmp_path):
    def check(*items, against=(), raw="", **options):
        write_jsonl(tmp_path / "data.jsonl", items)
        with (tmp_path / "data.jsonl").open("a") as file:
            file.write(raw)
        if against:
            write_jsonl(tmp_path / "test.jsonl", against)
            options["against"] = [tmp_path / "test.jsonl"]
        return check_data([tmp_path / "data.jsonl"], **options)

    return check


def finding(report, kind):
    return next((entry for entry in report.findings if entry.kind == kind), None)


def test_clean_data_is_usable_without_findings(check):
    report = check(chat("hi", "hello"), chat("and you?", "fine"))
    assert report.findings == ()
    assert report.usable
    assert report.verdict == "Usable: 2 of 2 rows can be trained on, and there are no warnings."


def test_counts_and_lengths(check):
    report = check(chat("a b", "c"), chat("d", "e", "f g h", "i", system="s"), Document("one two three"))
    assert (report.rows, report.conversations, report.documents, report.bad_rows) == (3, 2, 1, 0)
    assert report.messages == {"system": 1, "user": 3, "assistant": 3}
    turns = report.lengths["turns per dialogue"]
    assert (turns.min, turns.median, turns.p90, turns.max, turns.total) == (2, 2, 4, 4, 6)
    assert report.lengths["characters per dialogue"].max == len("sdef g hi")
    assert report.lengths["words per dialogue"].total == 3 + 7
    assert report.lengths["words per document"].total == 3
    assert "tokens per dialogue" not in report.lengths


def test_tokens_are_counted_by_the_given_function(check):
    assert check(chat("hi", "you"), count_tokens=len).lengths["tokens per dialogue"].total == 5


def test_at_most_twenty_bad_rows_are_listed_with_line_and_reason(check):
    report = check(chat("hi", "hello"), raw="oops\n" * 30)
    bad_rows = finding(report, "bad rows")
    assert bad_rows.count == report.bad_rows == 30
    assert len(bad_rows.locations) == 20
    assert "data.jsonl, line 2: it is not valid JSON" in bad_rows.locations[0]
    assert "Expected" in bad_rows.locations[0]
    assert report.usable
    assert "1 of 31 rows" in report.verdict


def test_exact_and_near_duplicates_are_distinguished(check):
    report = check(chat("Hi there", "yes"), chat("Hi there", "yes"), chat("hi, THERE!", "Yes."), chat("hi", "yes"))
    assert finding(report, "exact duplicates").locations[0].endswith("data.jsonl:1")
    assert ":2 repeats" in finding(report, "exact duplicates").locations[0]
    assert ":3 is nearly" in finding(report, "near duplicates").locations[0]
    assert finding(report, "near duplicates").count == finding(report, "exact duplicates").count == 1


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
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
def test_texts_that_normalize_to_the_same_text(first, second, is_same):
    assert (normalize_text(first) == normalize_text(second)) is is_same


def test_leaks_between_training_and_test_data(check):
    report = check(
        chat("hi", "hello"), chat("How are you?", "fine"), chat("who?", "me"),
        against=[chat("HI!", "Hello"), chat("how are you", "so so")],
    )  # fmt: skip
    assert finding(report, "leaks").count == 1
    assert finding(report, "leaks").locations[0].endswith("test.jsonl:1")
    assert "test.jsonl" in finding(report, "leaks").message
    assert finding(report, "shared openings").count == 1


def test_dialogues_with_messages_of_one_side_are_reported(check):
    report = check(
        chat("hello?"), Conversation((Message("assistant", "x"),)), chat("hi", "hello", "bye"), chat("hi", "hello")
    )
    assert finding(report, "no assistant turn").locations[0].endswith(":1")
    assert finding(report, "no user turn").locations[0].endswith(":2")
    assert finding(report, "ends on a user turn").locations[0].endswith(":3")
    assert report.usable_rows == 3


def test_data_without_a_single_reply_is_not_usable(check):
    report = check(chat("hello?"))
    assert not report.usable
    assert report.verdict.startswith("Not usable")


def test_placeholders_are_reported_but_not_code(check):
    report = check(
        chat("call?", "Call {{Phone Number}}."), chat("and?", "Dear [Your Name],"), chat("list?", "x[1] <b> {a}")
    )
    assert finding(report, "placeholders").count == 2
    assert "{{Phone Number}}" in finding(report, "placeholders").message


def test_very_long_rows_are_reported(check):
    report = check(*[chat(f"question {n}", "short") for n in range(30)], chat("q", "x" * 9000))
    assert finding(report, "very long").count == 1
    assert ":31" in finding(report, "very long").locations[0]


def test_the_language_is_estimated_from_the_letters(check):
    assert check(chat("hi", "hello")).language == "alphabetic"
    assert check(chat("你好", "你好，你是谁？")).language == "Chinese, Japanese or Korean"
    assert check(chat("你好", "hello to you all today")).language == "mixed"


def test_the_report_converts_to_json_and_to_a_terminal_table(check):
    report = check(chat("hi", "Dear {{Name [x]}}"), chat("hello?"), raw="oops\n")
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["verdict"] == report.verdict
    assert plain["lengths"]["turns per dialogue"]["max"] == 2
    out = io.StringIO()
    print_report(report, Console(file=out, width=200))
    for word in ("bad rows", "{{Name [x]}}", "line 3", report.verdict, "--skip-bad-rows"):
        assert word in out.getvalue()


def test_every_finding_has_a_message_and_advice(check):
    report = check(chat("hi", "{{x}}"), chat("hi", "{{x}}"), chat("hello?"), raw="oops\n")
    assert len(report.findings) >= 4
    assert all(entry.advice and entry.message for entry in report.findings)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InvalidData):
        check_data([tmp_path / "none.jsonl"])
