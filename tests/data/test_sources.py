"""Reading files and folders: streaming, bad rows, damaged files and error messages."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.jsonl_writer import to_json_line, write_jsonl
from turnwise.data.rows import Document
from turnwise.data.sources import DataSource, read_source

GOOD = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'
HELLO = Conversation((Message("user", "hi"), Message("assistant", "hello")))

contents = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)
messages = st.builds(
    Message, st.sampled_from(["system", "user", "assistant", "tool"]), contents, st.none() | contents
)  # fmt: skip
metas = st.dictionaries(st.text(min_size=1).filter(lambda key: key not in ("meta", "messages")), contents, max_size=2)
conversations = st.builds(Conversation, st.lists(messages, min_size=1, max_size=5).map(tuple), metas)


@settings(max_examples=40, deadline=None)
@given(st.lists(conversations, min_size=1, max_size=5))
def test_conversations_are_read_as_written(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("round") / "chats.jsonl"
    assert write_jsonl(path, items) == len(items)
    assert list(read_source(path)) == items


@settings(max_examples=40, deadline=None)
@given(st.builds(Document, contents, metas))
def test_documents_are_read_as_written(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("round") / "prose.jsonl"
    path.write_text(to_json_line(document), encoding="utf-8")
    if not {"label", "labels", "intent", "category", "class", "sentiment", "target"} & set(document.meta):
        assert list(read_source(path)) == [document]


def test_a_file_may_hold_conversations_and_documents(tmp_path):
    for items in ([HELLO, Document("prose")], [Document("prose"), HELLO]):
        write_jsonl(tmp_path / "both.jsonl", items)
        assert list(read_source(tmp_path / "both.jsonl")) == items


def test_a_bad_row_error_names_file_line_reason_and_expected_form(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text(GOOD + '{"messages": [{"role": "user", "content": ""}]}\n' + GOOD)
    with pytest.raises(InvalidData) as raised:
        list(read_source(path))
    assert str(raised.value) == (
        f"{path}, line 2: the content of a user turn is empty. Expected "
        '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}. '
        "Use --skip-bad-rows to skip such rows."
    )


def test_skipped_bad_rows_are_counted_and_recorded(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text(GOOD + "oops\n" + GOOD + "{}\n")
    source = DataSource(path, skip_bad_rows=True)
    assert list(source) == [HELLO, HELLO]
    assert source.bad_row_count == 2
    assert [bad.location.number for bad in source.bad_rows] == [2, 4]
    assert list(source) == [HELLO, HELLO], "a source can be iterated again"
    assert source.bad_row_count == 2


def test_rows_before_a_bad_row_are_yielded_first(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text(GOOD + "oops\n")
    stream = read_source(path)
    assert next(stream) == HELLO
    with pytest.raises(InvalidData, match="line 2"):
        next(stream)


def test_gzip_is_detected_under_any_file_name(tmp_path):
    path = tmp_path / "chats"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert list(read_source(path)) == [HELLO]


@pytest.mark.costly
def test_a_truncated_gzip_file_yields_its_rows_and_then_a_bad_row(tmp_path):
    path = tmp_path / "chats.jsonl.gz"
    lines = [json.dumps({"messages": [{"role": "user", "content": f"{n * 7919 % 10007}"}]}) for n in range(20_000)]
    compressed = gzip.compress("\n".join(lines).encode())
    path.write_bytes(compressed[: len(compressed) * 3 // 4])
    source = DataSource(path, skip_bad_rows=True)
    items = list(source)
    assert 0 < len(items) < 20_000
    assert "damaged or cut off" in source.bad_rows[-1].reason
    with pytest.raises(InvalidData, match="damaged or cut off"):
        list(read_source(path))


def test_a_folder_is_read_in_name_order_without_other_files(tmp_path):
    (tmp_path / "b.txt").write_text("User: b\n")
    (tmp_path / "a.csv").write_text("prompt,response\na,b\n")
    for name in ("README.txt", "split.json", "notes.pdf", ".hidden.jsonl"):
        (tmp_path / name).write_text("{}")
    assert [item.messages[0].content for item in read_source(tmp_path)] == ["a", "b"]


def test_the_format_of_a_file_with_a_long_first_line_is_detected(tmp_path):
    path = tmp_path / "chats"
    long = Conversation((Message("user", "x" * 300_000),))
    write_jsonl(path, [long])
    assert list(read_source(path)) == [long]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b'{"x": 1, "y": 2}', "columns or keys are x, y"),
        ("a.bin", b"\x00\x01\x02", "not text"),
        ("a.jsonl", b"hello", "begins with 'hello'"),
        ("a.csv", b"text,label\na,b\n", "classification table"),
        ("a.gz", b"\x1f\x8bgarbage", "Could not read|damaged"),
    ],
)
def test_a_file_of_an_unknown_format_is_an_error_with_a_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=reason) as raised:
        list(read_source(tmp_path / name))
    assert str(tmp_path / name) in str(raised.value)


def test_the_error_for_an_unknown_format_is_one_short_line(tmp_path):
    for name, content in (
        ("a.jsonl", b"hello"),
        ("b.png", b"\x89PNG\r\n\x1a\n\0"),
        ("c.jsonl", b""),
        ("d.jsonl", b'{"text": 1}'),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidData) as raised:
            list(read_source(tmp_path / name))
        assert str(raised.value).count("\n") == 0
        assert len(str(raised.value)) < 250


def test_a_missing_file_and_an_empty_folder_are_rejected_on_construction(tmp_path):
    with pytest.raises(InvalidData, match="There is no file or folder"):
        DataSource(tmp_path / "none.jsonl")
    with pytest.raises(InvalidData, match="holds no data files"):
        DataSource(tmp_path)


def test_the_format_can_be_set(tmp_path):
    path = tmp_path / "chats"
    path.write_text("prompt,response\n")
    assert list(read_source(path, format="text")) == [Document("prompt,response")]
    with pytest.raises(InvalidData, match="Unknown data format 'xls'"):
        DataSource(path, format="xls")


def test_the_position_reaches_the_size(tmp_path):
    for name in ("a.jsonl", "b.jsonl.gz"):
        data = (GOOD * 50).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    source = DataSource(tmp_path)
    assert source.position == 0
    list(source)
    assert source.position >= source.size > 0


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text("old")

    def items():
        yield HELLO
        raise InvalidData("no more")

    with pytest.raises(InvalidData):
        write_jsonl(path, items())
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["chats.jsonl"]
