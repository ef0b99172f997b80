"""The contract of every module in data/formats/, and what each format reads beyond its example."""

import io
import json
from contextlib import suppress
from pathlib import Path

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.messages import ROLES, Conversation
from turnwise.data import containers, formats
from turnwise.data.open_rows import open_rows
from turnwise.data.parse_context import ParseContext
from turnwise.data.read_options import ReadOptions
from turnwise.data.rows import BadRow, Document, UnreadableFile

ALL = formats.format_names()
TEXTS = [name for name in ALL if formats.load_format(name).read is not None]
ROWS = [name for name in ALL if formats.load_format(name).parse is not None]


def open_data(data: bytes | str, name: str = "data", **options):
    data = data.encode() if isinstance(data, str) else data
    read_options = ReadOptions(**options)
    context = ParseContext(read_options.role_of_speaker, read_options.assistant_name)
    return open_rows(Path(name), io.BytesIO(data), read_options, context)


def rows(format: str | None, data: bytes | str, name: str = "data", **options) -> list:
    return list(open_data(data, name, format=format, **options).rows)


def good(name: str | None, data: bytes | str, **options) -> list:
    return [row[1] for row in rows(name, data, **options) if not isinstance(row, BadRow)]


def bad(name: str | None, data: bytes | str, **options) -> list[BadRow]:
    return [row for row in rows(name, data, **options) if isinstance(row, BadRow)]


def turns(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages]


def example(name: str) -> tuple[str, dict]:
    """The example of a format, and the options for reading it."""
    format = formats.load_format(name)
    return format.example, ({"assistant_name": format.example_assistant_name} if format.example_assistant_name else {})


class TestEveryFormat:
    def test_is_listed_by_its_file_name(self):
        assert {"openai", "sharegpt", "alpaca", "pairs", "text"} <= set(ALL)
        assert set(containers.container_names()) == {"csv", "json", "parquet"}

    @pytest.mark.parametrize("name", ALL)
    def test_reads_its_own_example_without_a_bad_row(self, name):
        text, options = example(name)
        results = rows(name, text, **options)
        assert results
        for line, item in results:
            assert line >= 1
            if isinstance(item, Conversation):
                assert item.messages
                assert all(message.role in ROLES and message.full_text for message in item.messages)
            else:
                assert isinstance(item, Document)
                assert item.text

    @pytest.mark.parametrize("suffix", ["", ".jsonl", ".json", ".txt", ".csv", ".gz"])
    @pytest.mark.parametrize("name", ALL)
    def test_is_detected_from_its_own_example_under_any_file_name(self, name, suffix):
        text, options = example(name)
        assert open_data(text, f"data{suffix}", **options).expected == formats.load_format(name).expected
        assert rows(None, text, f"data{suffix}", **options) == rows(name, text, **options)

    @pytest.mark.parametrize("name", ALL)
    def test_is_detected_after_a_byte_order_mark(self, name):
        text, options = example(name)
        assert rows(None, b"\xef\xbb\xbf" + text.encode(), **options) == rows(name, text, **options)

    @pytest.mark.parametrize("example_name", ALL)
    @pytest.mark.parametrize("name", ALL)
    def test_reads_another_formats_example_without_another_exception(self, name, example_name):
        with suppress(UnreadableFile, InvalidData):
            rows(name, example(example_name)[0], assistant_name="Ada")

    @pytest.mark.parametrize(
        "garbage", [b"", b"\n\n", b"\xff\xfe\x00garbage", b'{"a": ' * 50, b"[[[[", b"\x00" * 100, b'"', b"7", b"null"]
    )
    @pytest.mark.parametrize("name", ALL)
    def test_yields_bad_rows_or_an_error_for_garbage(self, name, garbage):
        try:
            results = rows(name, garbage)
        except (UnreadableFile, InvalidData):
            return
        assert all(isinstance(row, BadRow | tuple) for row in results)

    @pytest.mark.parametrize("name", ROWS)
    def test_a_truncated_file_yields_the_rows_before_the_cut(self, name):
        text, options = example(name)
        expected = good(name, text, **options)
        for cut in range(0, len(text), 7):
            try:
                records = good(name, text[:cut], **options)
            except (UnreadableFile, InvalidData):
                continue
            assert records[:-1] == expected[: max(0, len(records) - 1)]

    @pytest.mark.parametrize("name", ["openai", "sharegpt", "alpaca", "pairs", "documents"])
    def test_a_broken_line_does_not_affect_the_next_line(self, name):
        values = [item for _, item in rows(name, formats.load_format(name).example)]
        lines = [json.dumps(value) for value in _plain(name)]
        results = rows(name, "\n".join(['{"broken": ', lines[0], "", "null", '{"other": 1}', lines[1]]))
        assert [row.line for row in results if isinstance(row, BadRow)] == [1, 4, 5]
        assert [row for row in results if not isinstance(row, BadRow)] == [(2, values[0]), (6, values[1])]

    @pytest.mark.parametrize("name", ["openai", "sharegpt", "alpaca", "pairs", "documents"])
    @pytest.mark.parametrize("indent", [None, 2])
    def test_a_broken_element_does_not_affect_the_other_elements(self, name, indent):
        first, second = _plain(name)
        array = json.dumps([first, {"broken": "x"}, second], indent=indent).replace('"x"', "x")
        assert len(bad(name, array)) == 1
        assert good(name, array) == good(name, formats.load_format(name).example)

    def test_an_unknown_format_error_suggests_the_nearest_name(self):
        with pytest.raises(InvalidParameter, match="no data format 'sharegtp'; did you mean 'sharegpt'"):
            formats.load_format("sharegtp")


def _plain(name: str) -> list:
    text = formats.load_format(name).example
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


class TestOpenAI:
    def test_content_is_unchanged(self):
        line = {"messages": [{"role": "user", "content": "  hi\n\t"}, {"role": "assistant", "content": "<|im_end|> "}]}
        assert turns(good("openai", json.dumps(line))[0]) == [("user", "  hi\n\t"), ("assistant", "<|im_end|> ")]

    def test_other_keys_and_the_meta_object_are_metadata(self):
        line = {"messages": [{"role": "user", "content": "hi"}], "topic": "x", "meta": {"lang": "en"}}
        assert good("openai", json.dumps(line))[0].meta == {"topic": "x", "lang": "en"}

    def test_consecutive_turns_of_a_speaker_are_allowed(self):
        line = {"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "there"}]}
        assert len(good("openai", json.dumps(line))[0].messages) == 2

    @pytest.mark.parametrize(
        ("messages", "reason"),
        [
            ([], "no messages"),
            ("hi", "not a list"),
            (["hi"], "not an object"),
            ([{"role": "wizard", "content": "x"}], "unknown role 'wizard'"),
            ([{"role": None, "content": "x"}], "has no speaker|unknown role None"),
            ([{"content": "x"}], "has no speaker"),
            ([{"role": "user", "content": ""}], "empty"),
            ([{"role": "user", "content": " \n"}], "empty"),
            ([{"role": "user", "content": None}], "null"),
            ([{"role": "user", "content": 3}], "a number"),
            ([{"role": "user", "content": [{"type": "image_url"}]}], "image_url"),
            ([{"role": "assistant", "content": "x", "tool_calls": [{}]}], "tool call of message 1 has no name"),
            ([{"role": "assistant", "content": "x", "weight": -1}], "not a number of at least 0"),
            ([{"role": "assistant", "content": "x", "weight": "heavy"}], "'heavy'"),
        ],
    )
    def test_a_bad_row_has_a_reason(self, messages, reason):
        (bad_row,) = bad("openai", json.dumps({"messages": messages}))
        assert any(text in bad_row.reason for text in reason.split("|"))

    def test_an_unknown_role_error_suggests_the_nearest_role(self):
        (bad_row,) = bad("openai", '{"messages": [{"role": "usr", "content": "x"}]}')
        assert "did you mean 'user'" in bad_row.reason

    def test_half_a_surrogate_pair_is_a_bad_row_because_it_cannot_be_encoded(self):
        (bad_row,) = bad("openai", '{"messages": [{"role": "user", "content": "\\ud800"}]}')
        assert "surrogate" in bad_row.reason
        assert good("openai", '{"messages": [{"role": "user", "content": "\\ud83d\\ude00"}]}')

    def test_deep_nesting_is_a_bad_row(self):
        bad_rows = bad("openai", "[" * 200_000)
        assert bad_rows
        bad_rows = bad("openai", '{"messages":' + "[" * 100_000)
        assert "nested too deeply" in bad_rows[0].reason

    def test_a_byte_that_is_not_utf8_is_reported_with_its_offset(self):
        fine = b'{"messages": [{"role": "user", "content": "ok"}]}\n'
        broken = fine.replace(b"ok", b"caf\xe9")
        (bad_row,) = bad("openai", fine + broken + fine)
        assert bad_row.line == 2
        assert "0xe9" in bad_row.reason
        assert f"offset {(fine + broken).index(0xE9)} " in bad_row.reason
        assert len(good("openai", fine + broken + fine)) == 2

    def test_a_byte_that_is_not_utf8_in_an_array_is_reported_with_its_offset(self):
        row = b'\n {"messages": [{"role": "user", "content": "ok\xe4\xbd\xa0"}]}'
        data = b"\xef\xbb\xbf[" + row + b"," + row.replace(b"ok", b"caf\xe9") + b"," + row + b"\n]"
        (bad_row,) = bad("openai", data)
        assert bad_row.line == 3
        assert f"offset {data.index(0xE9)} " in bad_row.reason
        assert len(good("openai", data)) == 2


class TestShareGPT:
    def test_many_speaker_names_are_known(self):
        names = {"human": "user", "gpt": "assistant", "bot": "assistant", "Customer": "user", "agent": "assistant"}
        line = {"conversations": [{"from": name, "value": name} for name in names]}
        assert turns(good("sharegpt", json.dumps(line))[0]) == [(role, name) for name, role in names.items()]


class TestAlpaca:
    def test_history_comes_before_the_question_and_the_system_prompt_before_all(self):
        line = {"instruction": "c", "input": "d", "output": "e", "system": "s", "history": [["a", "b"]]}
        assert turns(good("alpaca", json.dumps(line))[0]) == [
            ("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c\nd"), ("assistant", "e"),
        ]  # fmt: skip

    def test_a_history_that_is_not_a_list_of_pairs_is_a_bad_row(self):
        (bad_row,) = bad("alpaca", '{"instruction": "a", "output": "b", "history": ["x"]}')
        assert "history" in bad_row.reason


class TestCSV:
    @pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
    @pytest.mark.parametrize(
        ("prompt", "reply"), [("prompt", "response"), ("Question", " Answer"), ("user", "assistant")]
    )
    def test_columns_are_found_by_name_for_every_delimiter(self, delimiter, prompt, reply):
        table = f"id{delimiter}{prompt}{delimiter}{reply}\r\n7{delimiter}hi{delimiter}hello\r\n"
        (conversation,) = good("csv", table)
        assert turns(conversation) == [("user", "hi"), ("assistant", "hello")]
        assert conversation.meta == {"id": "7"}

    def test_the_input_column_is_appended_to_the_instruction(self):
        (conversation,) = good("csv", "instruction,input,output\nAdd,1 and 2,3\n")
        assert turns(conversation) == [("user", "Add\n1 and 2"), ("assistant", "3")]

    def test_a_cell_may_hold_line_breaks_and_quotes(self):
        (conversation,) = good("csv", 'prompt,response\n"a\nb","say ""c"""\n')
        assert turns(conversation) == [("user", "a\nb"), ("assistant", 'say "c"')]

    def test_backslash_escapes_are_detected(self):
        (conversation,) = good("csv", 'prompt,response\n"say \\"a\\"","b"\n')
        assert turns(conversation)[0] == ("user", 'say "a"')

    def test_an_unclosed_quote_does_not_affect_the_rows_after_it(self):
        results = rows("csv", 'prompt,response\na,b\n"open,c\nd,e\nf,g\n')
        assert [row.line for row in results if isinstance(row, BadRow)] == [3]
        assert [row[0] for row in results if not isinstance(row, BadRow)] == [2, 4, 5]

    def test_a_row_with_too_few_cells_is_a_bad_row(self):
        (bad_row,) = bad("csv", "prompt,response\nonly one\nc,d\n")
        assert bad_row == BadRow(2, "it has 1 cells, but the header has 2")

    def test_a_row_that_is_not_utf8_is_one_bad_row(self):
        results = rows("csv", b"prompt,response\na,b\ncaf\xe9,c\nd,e\n")
        assert [row.line for row in results if isinstance(row, BadRow)] == [3]
        assert len(results) == 3

    def test_one_message_per_row_becomes_one_conversation_per_id(self):
        table = "conversation_id,role,content\n1,user,hi\n1,assistant,hello\n2,customer,you?\n2,agent,fine\n"
        first, second = good("csv", table)
        assert turns(first) == [("user", "hi"), ("assistant", "hello")]
        assert turns(second) == [("user", "you?"), ("assistant", "fine")]
        assert second.meta["conversation_id"] == "2"

    def test_a_conversation_with_a_bad_row_is_skipped_entirely(self):
        table = "conversation_id,role,content\n1,user,hi\n1,wizard,hello\n2,user,you?\n"
        assert [row.line for row in bad("csv", table)] == [3]
        assert [turns(conversation) for conversation in good("csv", table)] == [[("user", "you?")]]

    def test_rows_of_a_conversation_must_be_consecutive(self):
        (bad_row,) = bad("csv", "conversation_id,role,content\n1,user,hi\n2,user,you?\n1,assistant,hello\n")
        assert bad_row.line == 4
        assert "consecutive" in bad_row.reason

    def test_a_classification_table_is_rejected_with_an_explanation(self):
        with pytest.raises(UnreadableFile, match=r"text, label.*classification table"):
            rows("csv", "text,label\nwhere is it,card_arrival\n")

    def test_two_columns_with_the_same_name_are_rejected(self):
        with pytest.raises(UnreadableFile, match="same name"):
            rows("csv", "prompt,response,prompt\na,b,c\n")


class TestParquet:
    pyarrow = pytest.importorskip("pyarrow")

    def write(self, **columns) -> bytes:
        import pyarrow.parquet

        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
        return buffer.getvalue()

    def test_reads_messages(self):
        messages = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}], []]
        results = rows("parquet", self.write(messages=messages, topic=["a", "b"]))
        assert turns(results[0][1]) == [("user", "hi"), ("assistant", "hello")]
        assert results[0][1].meta == {"topic": "a"}
        assert results[1] == BadRow(2, "it holds no messages")

    def test_reads_conversations_and_text_and_one_message_per_row(self):
        conversations = [[{"from": "human", "value": "hi"}]]
        assert turns(good("parquet", self.write(conversations=conversations))[0]) == [("user", "hi")]
        assert good("parquet", self.write(text=["prose"])) == [Document("prose")]
        long = self.write(conversation_id=[1, 1], role=["user", "bot"], content=["hi", "hello"])
        assert turns(good("parquet", long)[0]) == [("user", "hi"), ("assistant", "hello")]

    def test_unknown_columns_are_listed_in_the_error(self):
        with pytest.raises(UnreadableFile, match="its columns or keys are x, y"):
            rows("parquet", self.write(x=[1], y=[2]))

    def test_a_missing_package_error_names_the_install_command(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(UnreadableFile, match=r"pip install 'turnwise\[parquet\]'"):
            rows("parquet", b"PAR1")


class TestText:
    def test_a_line_without_a_speaker_continues_the_turn(self):
        (conversation,) = good("text", "Human: hi\nBot: one\n two\n")
        assert turns(conversation) == [("user", "hi"), ("assistant", "one\n two")]

    def test_chinese_speakers_and_colons_are_known(self):
        (conversation,) = good("text", "用户：你好\n助手：你好！\n")
        assert turns(conversation) == [("user", "你好"), ("assistant", "你好！")]

    def test_a_dialogue_with_an_unknown_speaker_is_one_bad_row(self):
        results = rows("text", "User: a\nBot: b\n\nWizard: c\nBot: d\n\nUser: e\nBot: f\n")
        assert [isinstance(row, BadRow) for row in results] == [False, True, False]
        assert results[1].line == 4
        assert "'Wizard'" in results[1].reason

    def test_prose_is_one_document_with_its_paragraphs(self):
        assert good("text", "One.\nTwo.\n\n\nThree.\n") == [Document("One.\nTwo.\n\nThree.")]

    def test_a_long_book_is_cut_between_paragraphs(self):
        paragraph = "word " * 4000
        records = good("text", "\n\n".join([paragraph] * 10))
        assert len(records) > 1
        assert all(document.text.endswith(" ") for document in records)


class TestPreferences:
    ROWS = {  # noqa: RUF012
        "TRL": {"prompt": "Tea?", "chosen": "Please.", "rejected": "No."},
        "TRL, messages": {
            "prompt": [{"role": "user", "content": "Tea?"}],
            "chosen": [{"role": "assistant", "content": "Please."}],
            "rejected": [{"role": "assistant", "content": "No."}],
        },
        "whole dialogues": {
            "chosen": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Please."}],
            "rejected": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No."}],
        },
        "LLaMA-Factory": {
            "conversations": [{"from": "human", "value": "Tea?"}],
            "chosen": {"from": "gpt", "value": "Please."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        "OpenAI": {
            "input": {"messages": [{"role": "user", "content": "Tea?"}]},
            "preferred_output": [{"role": "assistant", "content": "Please."}],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        },
    }

    @pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
    def test_every_layout_gives_the_same_preference(self, row):
        line = json.dumps(row)
        assert open_data(line).expected == formats.load_format("preference").expected
        (talk,) = good("preference", line)
        assert turns(talk) == [("user", "Tea?"), ("assistant", "Please.")]
        assert [(message.role, message.content) for message in talk.rejected] == [
            ("user", "Tea?"),
            ("assistant", "No."),
        ]
        assert talk.meta == {}

    def test_an_instruction_and_its_input_are_joined(self):
        row = {"instruction": "Translate.", "input": "Good morning", "chosen": "Bonjour", "rejected": "Au revoir"}
        assert turns(good("preference", json.dumps(row))[0])[0] == ("user", "Translate.\nGood morning")
        row = {
            "system": "Be brief.",
            "instruction": "Translate.",
            "input": "Good morning",
            "output": "Bonjour",
            "label": True,
        }
        (talk,) = good("rated", json.dumps(row))
        assert turns(talk) == [
            ("system", "Be brief."), ("user", "Translate.\nGood morning"), ("assistant", "Bonjour"),
        ]  # fmt: skip
        assert talk.rating is True

    def test_identical_answers_are_a_bad_row(self):
        (bad_row,) = bad("preference", json.dumps({"prompt": "Tea?", "chosen": "No.", "rejected": "No."}))
        assert "the same" in bad_row.reason

    @pytest.mark.parametrize("key", ["rating", "label"])
    def test_dialogues_may_be_rated(self, key):
        row = {"messages": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No."}], key: False}
        assert good("openai", json.dumps(row))[0].rating is False

    def test_a_rating_in_stars_is_metadata(self):
        row = {"messages": [{"role": "user", "content": "Tea?"}], "rating": 4}
        (talk,) = good("openai", json.dumps(row))
        assert (talk.rating, talk.meta) == (None, {"rating": 4})

    def test_preferences_and_ratings_are_read_as_written(self, tmp_path):
        from turnwise.data.jsonl_writer import write_jsonl
        from turnwise.data.sources import read_source

        talks = [
            *good("preference", formats.load_format("preference").example),
            *good("rated", formats.load_format("rated").example),
        ]
        write_jsonl(tmp_path / "a.jsonl", talks)
        assert list(read_source(tmp_path / "a.jsonl")) == talks
