"""Every row format in every container, encoding and compression gives the same dialogues."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message, ToolCall
from turnwise.core.tools import Tool
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import DataSource, read_source

USER, ASSISTANT = "Is the café open? 你好", "From nine.\nUntil six, “mostly”."
TURNS = [{"role": "user", "content": USER}, {"role": "assistant", "content": ASSISTANT}]
TURNS_2 = [{"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "Welcome."}]
CALL = {"id": "c1", "type": "function", "function": {"name": "hours", "arguments": '{"day": "Monday"}'}}
CALLING = [
    {"role": "user", "content": "Open on Monday?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "9-18", "tool_call_id": "c1"},
    {"role": "assistant", "content": "From nine."},
]
TOOLS = [{"type": "function", "function": {"name": "hours", "parameters": {"type": "object", "properties": {}}}}]


ROWS_BY_FORMAT = {
    "openai": [{"messages": TURNS, "topic": "x"}, {"messages": TURNS_2, "topic": "y"}],
    "tool calls": [{"messages": CALLING, "tools": TOOLS}, {"messages": CALLING, "tools": TOOLS}],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": USER}, {"from": "gpt", "value": ASSISTANT}]},
        {"conversations": [{"from": "human", "value": "Thanks"}, {"from": "gpt", "value": "Welcome."}]},
    ],
    "LMSYS": [{"conversation": TURNS, "language": "en"}, {"conversation": TURNS_2, "language": "en"}],
    "XTuner": [
        {"conversation": [{"system": "Be kind.", "input": USER, "output": ASSISTANT}]},
        {"conversation": [{"system": "", "input": "Thanks", "output": "Welcome."}]},
    ],
    "items": [{"items": [{"from": "human", "value": USER}]}, {"items": [{"from": "human", "value": "x"}]}],
    "dialog": [{"dialog": [USER, ASSISTANT]}, {"dialog": ["Thanks", "Welcome."]}],
    "alpaca": [
        {"instruction": "Answer", "input": USER, "output": ASSISTANT, "history": [["a?", "b"]]},
        {"instruction": "Thank", "input": "", "output": "Welcome.", "history": []},
    ],
    "dolly": [
        {"instruction": "Who runs it?", "context": "Ada runs the mill.", "response": "Ada.", "category": "qa"},
        {"instruction": "And then?", "context": "", "response": "Nobody.", "category": "qa"},
    ],
    "query": [
        {"prompt": "Sum up.", "query": USER, "response": ASSISTANT, "system": "s", "history": [["a?", "b"]]},
        {"prompt": "Sum up.", "query": "", "response": "Nothing.", "system": "", "history": []},
    ],
    "pairs": [{"question": USER, "answer": ASSISTANT}, {"question": "a", "answer": "b"}],
    "TRL": [{"prompt": TURNS[:1], "completion": TURNS[1:]}, {"prompt": TURNS_2[:1], "completion": TURNS_2[1:]}],
    "rated": [
        {"prompt": USER, "completion": ASSISTANT, "label": True}, {"prompt": "a", "completion": "b", "label": False}
    ],
    "preference": [
        {"prompt": USER, "chosen": ASSISTANT, "rejected": "No."}, {"prompt": "a", "chosen": "b", "rejected": "c"}
    ],
    "preferred messages": [
        {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No."}]},
        {"chosen": TURNS_2, "rejected": [TURNS_2[0], {"role": "assistant", "content": "No."}]},
    ],
    "HH": [
        {"chosen": f"\n\nHuman: {USER}\n\nAssistant: {ASSISTANT}", "rejected": f"\n\nHuman: {USER}\n\nAssistant: No."},
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
    ],
    "documents": [{"text": "The tide comes in twice."}, {"text": "海水每天涨落两次。"}],
    "one message per row": [
        {"dialogue_id": id, "speaker": turn["role"], "utterance": turn["content"]}
        for id, turns in (("1", TURNS), ("2", TURNS_2))
        for turn in turns
    ],
}  # fmt: skip


def table(rows, delimiter=","):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        plain = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in row.items()}
        writer.writerow(plain)
    return out.getvalue()


CONTAINERS = {
    "lines.jsonl": lambda rows: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
    "array.json": lambda rows: json.dumps(rows, ensure_ascii=False),
    "pretty.json": lambda rows: json.dumps(rows, indent=2),
    "several.json": lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows),
    "data.json": lambda rows: json.dumps({"version": "1", "data": rows}),
    "train.json": lambda rows: json.dumps({"train": rows}, indent=1),
    "keyed.json": lambda rows: json.dumps({str(number): row for number, row in enumerate(rows)}, indent=1),
    "columns.json": lambda rows: json.dumps({key: [row[key] for row in rows] for key in rows[0]}),
    "split.json5": lambda rows: json.dumps({"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}),
    "table.csv": table,
    "semicolon.csv": lambda rows: "sep=;\n" + table(rows, ";"),
    "table.tsv": lambda rows: table(rows, "\t"),
}


def written(items):
    return [(item.messages, item.rejected, item.rating, item.tools) if isinstance(item, Conversation) else item.text
            for item in items]  # fmt: skip


@pytest.mark.parametrize("name", ROWS_BY_FORMAT)
def test_every_row_format_in_every_container_gives_the_same_dialogues(tmp_path, name):
    rows = ROWS_BY_FORMAT[name]
    (tmp_path / "lines.jsonl").write_text(CONTAINERS["lines.jsonl"](rows), encoding="utf-8")
    expected = written(read_source(tmp_path / "lines.jsonl"))
    assert len(expected) == 2
    for file, write in CONTAINERS.items():
        path = tmp_path / file.replace("split.json5", "pandas.json")
        path.write_text(write(rows), encoding="utf-8", newline="")
        assert written(read_source(path)) == expected, file


@pytest.mark.parametrize("name", ROWS_BY_FORMAT)
def test_every_row_format_in_parquet_and_arrow_gives_the_same_dialogues(tmp_path, name):
    pyarrow = pytest.importorskip("pyarrow")
    pyarrow_parquet = pytest.importorskip("pyarrow.parquet")
    rows = ROWS_BY_FORMAT[name]
    (tmp_path / "lines.jsonl").write_text(CONTAINERS["lines.jsonl"](rows), encoding="utf-8")
    expected = written(read_source(tmp_path / "lines.jsonl"))
    as_text = [{k: v if isinstance(v, str | bool) else json.dumps(v) for k, v in row.items()} for row in rows]
    for number, content in enumerate((rows, as_text)):
        if name == "tool calls" and content is rows:
            continue  # Parquet has no empty objects
        path = tmp_path / f"table{number}.parquet"
        pyarrow_parquet.write_table(pyarrow.Table.from_pylist(content), path)
        assert written(read_source(path)) == expected
        with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as sink:
            table = pyarrow.Table.from_pylist(content)
            with pyarrow.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        assert written(read_source(tmp_path / "a.arrow")) == expected


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chats.jsonl", data)
    return out.getvalue()


def zstd(data):
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


COMPRESSIONS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
    ".zst": zstd,
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"]


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("container", ["lines.jsonl", "pretty.json", "table.csv"])
def test_every_encoding_and_compression_gives_the_same_dialogues(tmp_path, container, encoding, suffix):
    rows = ROWS_BY_FORMAT["pairs"]
    (tmp_path / "plain.jsonl").write_text(CONTAINERS["lines.jsonl"](rows), encoding="utf-8")
    path = tmp_path / (container + suffix)
    data = CONTAINERS[container](rows).encode(encoding)
    if encoding == "utf-16":
        data = b"\xff\xfe" + CONTAINERS[container](rows).encode("utf-16-le")
    path.write_bytes(COMPRESSIONS[suffix](data))
    from turnwise.data.read_options import ReadOptions

    options = ReadOptions(encoding="gb18030") if encoding == "gb18030" else None
    assert list(read_source(path, options=options)) == list(read_source(tmp_path / "plain.jsonl"))


@pytest.mark.costly
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_truncated_compressed_file_yields_its_rows_and_then_a_bad_row(tmp_path, suffix):
    lines = "".join(
        json.dumps({"prompt": f"{n * 7919 % 10007}", "response": f"{n * n}"}) + "\n" for n in range(60_000)
    ).encode()
    compressed = COMPRESSIONS[suffix](lines)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(compressed[: len(compressed) * 9 // 10])
    source = DataSource(path, skip_bad_rows=True)
    assert len(list(source)) < 60_000
    assert "damaged or cut off" in source.bad_rows[-1].reason


@pytest.mark.costly
def test_the_format_of_a_file_with_a_long_first_row_is_detected(tmp_path):
    row = {"messages": [{"content": "x" * 9_000_000, "role": "user"}, {"role": "assistant", "content": "y"}]}
    for name in ("lines.jsonl", "pretty.json", "data.json"):
        (tmp_path / name).write_text(CONTAINERS[name]([row]))
        assert len(list(read_source(tmp_path / name))) == 1, name


def test_a_broken_row_in_a_document_names_its_line(tmp_path):
    path = tmp_path / "data.json"
    rows = [{"prompt": "a", "response": "b"}, {"prompt": "", "response": "b"}, {"prompt": "c", "response": "d"}]
    path.write_text(json.dumps({"data": rows}, indent=1))
    source = DataSource(path, skip_bad_rows=True)
    assert len(list(source)) == 2
    assert [bad.location.number for bad in source.bad_rows] == [7]


def test_several_data_sets_in_one_file_are_rejected(tmp_path):
    rows = [{"prompt": "a", "response": "b"}]
    (tmp_path / "all.json").write_text(json.dumps({"train": rows, "test": rows}))
    with pytest.raises(InvalidData, match=r"several data sets \(train, test\)"):
        list(read_source(tmp_path / "all.json"))


def test_tables_in_the_variants_of_spreadsheets_are_read(tmp_path):
    for text in (
        "question,answer,,\na,b,,\n", "\nquestion,answer\na,b\n", "question,answer\ra,b\r",
        '"question","answer"\r\n"a","b"\r\n', "SEP=;\r\nquestion;answer\r\na;b\r\n", "question|answer\na|b\n",
    ):  # fmt: skip
        (tmp_path / "a.csv").write_bytes(text.encode())
        assert [m.content for item in read_source(tmp_path / "a.csv") for m in item.messages] == ["a", "b"], text


def test_lists_in_cells_as_pandas_writes_them_are_read(tmp_path):
    (tmp_path / "a.csv").write_text(f'messages\n"{TURNS_2}"\n')
    assert [m.content for item in read_source(tmp_path / "a.csv") for m in item.messages] == ["Thanks", "Welcome."]


@pytest.mark.parametrize(
    ("name", "head", "meaning"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n\0", "a PNG file"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Microsoft Office"),
        ("a.pdf", b"%PDF-1.7", "a PDF"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c\0", "7z"),
        ("a.db", b"SQLite format 3\0", "SQLite"),
        ("a.pkl", b"\x80\x04\x95", "pickle"),
        ("a.html", b"<!DOCTYPE html><html>", "web page"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.csv", "prompt,response\na,b\n".encode("utf-16-le"), "--encoding utf-16-le"),
        ("a.csv", "prompt,response\na,b\n".encode("utf-16-be"), "--encoding utf-16-be"),
        ("a.csv", "prompt,response\na,b\n".encode("utf-32-le"), "--encoding utf-32-le"),
    ],
)
def test_a_file_that_is_not_data_is_identified_with_advice(tmp_path, name, head, meaning):
    (tmp_path / name).write_bytes(head)
    with pytest.raises(InvalidData, match=meaning):
        list(read_source(tmp_path / name))


def test_office_files_and_archives_of_several_files_are_identified(tmp_path):
    for members, meaning in (
        (["[Content_Types].xml", "xl/workbook.xml"], "Excel workbook"),
        (["[Content_Types].xml", "word/document.xml"], "Word document"),
        (["a.jsonl", "b.jsonl"], r"2 files \(a.jsonl, b.jsonl\)"),
    ):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for member in members:
                archive.writestr(member, "{}")
        with pytest.raises(InvalidData, match=meaning):
            list(read_source(tmp_path / "a.zip"))


@pytest.mark.parametrize(
    ("encoding", "text"), [("windows-1252", "Schließt das Café?"), ("gbk", "你好，咖啡馆开门了吗？")]
)
def test_the_error_suggests_an_encoding_with_which_the_file_is_read(tmp_path, encoding, text):
    from turnwise.data.read_options import ReadOptions

    path = tmp_path / "a.csv"
    path.write_bytes(f"prompt,response\n{text},b\n".encode(encoding))
    with pytest.raises(InvalidData, match=f"--encoding {encoding}"):
        list(read_source(path))
    (conversation,) = read_source(path, options=ReadOptions(encoding=encoding))
    assert conversation.messages[0].content == text


contents = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() and not any(mark in text for mark in ("<tool", "</think>"))
)
names = st.from_regex(r"[a-z_]{1,20}", fullmatch=True)
arguments = st.dictionaries(names, st.one_of(st.integers(), contents, st.none()), max_size=2).map(json.dumps)
calls = st.builds(ToolCall, names, names, arguments)
replies = st.one_of(
    st.builds(Message, st.just("assistant"), contents),
    st.builds(
        Message, st.just("assistant"), st.just(""), tool_calls=st.lists(calls, min_size=1, max_size=2).map(tuple)
    ),
)
others = st.one_of(
    st.builds(Message, st.sampled_from(["system", "user"]), contents),
    st.builds(Message, st.just("tool"), contents, tool_call_id=names),
)
tools = st.lists(st.builds(lambda name: Tool.from_function({"name": name}), names), max_size=2).map(tuple)
talks = st.builds(Conversation, st.lists(st.one_of(replies, others), min_size=1, max_size=6).map(tuple), tools=tools)


@pytest.mark.costly
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(talks, min_size=1, max_size=3))
def test_dialogues_with_tool_calls_are_read_as_written(tmp_path, items):
    write_jsonl(tmp_path / "a.jsonl", items)
    assert list(read_source(tmp_path / "a.jsonl")) == items


def test_nan_and_infinity_are_written_as_null(tmp_path):
    item = Conversation((Message("user", "a"),), {"score": float("nan"), "more": [float("inf"), 1.5]})
    write_jsonl(tmp_path / "a.jsonl", [item])
    text = (tmp_path / "a.jsonl").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["meta"] == {
        "score": None,
        "more": [None, 1.5],
    }
