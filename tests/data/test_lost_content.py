"""No content is lost, given to another speaker or trained on against its flags without a report."""

import json

import pytest
from typer.testing import CliRunner

from turnwise.cli.data import app
from turnwise.core.errors import InvalidData
from turnwise.data.data_files import find_split_files
from turnwise.data.read_options import ReadOptions
from turnwise.data.sources import DataSource


def row(number):
    return {"messages": [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]}


def turns(item):
    return [(message.role, message.content) for message in item.messages]


@pytest.fixture
def read(tmp_path):
    """Writes content to a file and reads it; returns the records and the source."""

    def read(name, content, **options):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")
        source = DataSource(path, skip_bad_rows=True, options=ReadOptions(**options))
        return list(source), source

    return read


class TestObjectsWithSeveralLists:
    def test_two_lists_of_rows_are_rejected(self, read):
        items, source = read("a.json", {"easy": [row(1)], "hard": [row(2)]})
        assert not items
        assert "several data sets (easy, hard)" in source.bad_rows[0].reason

    def test_a_second_list_far_after_the_first_is_a_bad_row(self, read):
        many = {"train": [row(i) for i in range(2000)], "version": [1, 2], "test": [row(9)]}
        items, source = read("a.json", json.dumps(many, indent=1))
        assert len(items) == 2000
        assert "'test' holds rows, too, beside 'train'" in source.bad_rows[0].reason

    @pytest.mark.parametrize("value", [[row(1), row(2)], {"data": [row(1), row(2)]}])
    def test_json_without_indentation_is_read(self, read, value):
        items, source = read("a.json", json.dumps(value, indent=0))
        assert (len(items), source.bad_row_count) == (2, 0)


class TestAnnotations:
    def test_a_skipped_annotation_is_not_used(self, read):
        def annotation(text, **more):
            return {"result": [{"type": "textarea", "value": {"text": [text]}}], **more}

        annotations = [annotation("Bad.", was_cancelled=True), annotation("Good.", was_cancelled=False)]
        (item,), _ = read("a.json", [{"id": 1, "data": {"prompt": "Open?"}, "annotations": annotations}])
        assert item.messages[-1].content == "Good."

    @pytest.mark.parametrize("status", ["discarded", "draft"])
    def test_a_response_that_was_not_submitted_is_not_used(self, read, status):
        responses = [
            {"status": status, "values": {"response": {"value": "Bad."}}},
            {"status": "submitted", "values": {"response": {"value": "Good."}}},
        ]
        (item,), _ = read("a.json", [{"fields": {"prompt": "Open?"}, "responses": responses}])
        assert item.messages[-1].content == "Good."

    @pytest.mark.parametrize("key", ["loss", "train", "trainable"])
    def test_a_message_that_other_trainers_mask_has_no_weight(self, read, key):
        messages = [*row(1)["messages"], *row(2)["messages"]]
        messages[1][key] = False
        (item,), source = read("a.jsonl", {"messages": messages})
        assert [message.weight for message in item.messages] == [1, 0, 1, 1]
        assert not source.unread_columns


class TestChatExports:
    def test_text_attached_to_a_question_is_part_of_it(self, read):
        question = {"sender": "human", "text": "Sum it up", "attachments": [{"extracted_content": "Built in 1802."}]}
        chat = {"uuid": "u", "name": "n", "chat_messages": [question, {"sender": "assistant", "text": "Old."}]}
        (item,), _ = read("a.json", [chat])
        assert turns(item) == [("user", "Built in 1802.\n\nSum it up"), ("assistant", "Old.")]

    def test_chats_without_a_message_by_the_person_are_skipped(self, read):
        def chat(who):
            post = {"type": "message", "date": "2024-03-12T18:06:00"}
            return {"name": who, "messages": [{**post, "from": "Bob", "text": "?"}, {**post, "from": who, "text": "!"}]}

        items, _ = read("a.json", {"chats": {"list": [chat("News"), chat("Ada")]}}, assistant_name="Ada")
        assert [turns(item) for item in items] == [[("user", "?"), ("assistant", "!")]]

    @staticmethod
    def post(user, text, ts, **profile):
        message = {"type": "message", "user": user, "text": text, "ts": str(ts)}
        return {**message, "user_profile": profile} if profile else message

    @pytest.mark.parametrize("name", ["Ada", "ada.l", "U1"])
    def test_a_person_has_the_same_name_with_and_without_a_profile(self, read, name):
        posts = [
            self.post("U2", "Open?", 10.1, real_name="Bob"),
            self.post("U1", "Yes.", 11.1, real_name="Ada", display_name="ada.l"),
            self.post("U2", "Till?", 12.1, real_name="Bob"),
            self.post("U1", "Six.", 13.1),
        ]
        (item,), _ = read("a.json", posts, assistant_name=name)
        assert [role for role, _ in turns(item)] == ["user", "assistant", "user", "assistant"]

    def test_files_without_a_message_by_the_person_are_skipped(self, read, tmp_path):
        bob = self.post("U2", "?", 10.1, real_name="Bob")
        read("c/1.json", [bob], assistant_name="Bob")
        read("c/2.json", [bob, self.post("U1", "!", 11.1, real_name="Ada")], assistant_name="Ada")
        assert len(list(DataSource(tmp_path / "c", options=ReadOptions(assistant_name="Ada")))) == 1
        with pytest.raises(InvalidData, match="Nobody in the chat is called 'Cy'"):
            list(DataSource(tmp_path / "c", options=ReadOptions(assistant_name="Cy")))

    def test_whatsapp_exports_of_chinese_phones_are_read(self, read):
        text = "2024/3/12 下午6:05 - Bob: 开门吗？\n2024/3/12 下午6:06 - Ada: 到六点。\n"
        (item,), _ = read("a.txt", text, assistant_name="Ada")
        assert turns(item) == [("user", "开门吗？"), ("assistant", "到六点。")]


class TestTranscripts:
    @pytest.mark.parametrize(
        "prompt",
        [
            "\n\nHuman: Hi\n\nAssistant:",
            "USER: Hi ASSISTANT:",
            "[INST] Hi [/INST]",
            "User: Hi\nAssistant: ",
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        ],
    )
    def test_a_prompt_that_is_a_transcript_is_split(self, read, prompt):
        pairs, _ = read("a.jsonl", {"prompt": prompt, "response": " Hello."})
        preferences, _ = read("b.jsonl", {"prompt": prompt, "chosen": " Hello.", "rejected": " Go."})
        for item in (*pairs, *preferences):
            assert turns(item) == [("user", "Hi"), ("assistant", "Hello.")]

    def test_a_dialogue_in_an_answer_stays_in_it(self, read):
        scene = "Customer: Hi\nAgent: Hello."
        (item,), _ = read("a.jsonl", {"prompt": "Write a scene.", "chosen": scene, "rejected": "No."})
        assert turns(item) == [("user", "Write a scene."), ("assistant", scene)]

    @pytest.mark.parametrize(
        "inside",
        ["user: root\nmodel: gpt", "**Answer:** 42", "  User: nested", "```\nUser: root\nSystem: linux\n```"],
    )
    def test_lines_of_another_style_and_code_start_no_turn(self, read, inside):
        items, _ = read("a.txt", f"User: Show me\nAssistant: Here:\n{inside}\n\nUser: Thanks\nAssistant: Bye\n")
        assert turns(items[0]) == [("user", "Show me"), ("assistant", f"Here:\n{inside}")]
        assert len(items) == 2

    def test_instructions_after_tool_definitions_stay(self, read):
        system = '# Tools\n<tools>\n{"name": "f"}\n</tools>\nSo: <tool_call>{}</tool_call>\n\nBe brief.'
        (item,), _ = read("a.jsonl", {"messages": [{"role": "system", "content": system}, *row(1)["messages"]]})
        assert turns(item)[0] == ("system", "Be brief.")
        assert [tool.name for tool in item.tools] == ["f"]


@pytest.mark.parametrize("command", [["convert", "--out", "b.jsonl"], ["split", "--out", "sides"]])
def test_nan_and_infinity_replaced_by_null_are_reported(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    rows = [{**row(1), "score": float("nan"), "n": 1}, {**row(2), "score": 1.5, "meta": {"deep": [float("inf")]}}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    name, *options = command
    result = CliRunner().invoke(app, [name, "a.jsonl", *options])
    assert result.exit_code == 0
    assert "replaced by null: score (1 row), deep (1 row)" in " ".join(result.stderr.split())


class TestTables:
    def test_messages_with_the_newest_first_are_sorted(self, read):
        table = "conversation_id,{},role,content\n1,{},assistant,Six.\n1,{},user,Till?\n"
        for name, late, early in [("turn", 2, 1), ("timestamp", "2024-03-12T18:07", "2024-03-12T18:06")]:
            (item,), _ = read("a.csv", table.format(name, late, early))
            assert turns(item) == [("user", "Till?"), ("assistant", "Six.")]

    def test_every_system_message_starts_a_dialogue(self, read):
        items, _ = read("a.csv", "role,content\n" + "system,S\nuser,q\nassistant,a\n" * 2)
        assert [len(item.messages) for item in items] == [3, 3]

    @pytest.mark.parametrize(
        ("cell", "text"),
        [
            (r'"print(\""x\"")"', r"print(\"x\")"),  # doubled quotes, and backslashes that are text
            (r'"say \"hi\", C:\new"', r'say "hi", C:\new'),
            (r'"ends with \\"', r"ends with \\"),
        ],
    )
    def test_backslashes_that_are_text_are_kept(self, read, cell, text):
        items, source = read("a.csv", f"prompt,response\nhow,{cell}\nb,c\n")
        assert (items[0].messages[-1].content, source.bad_row_count) == (text, 0)

    def test_half_a_surrogate_pair_in_a_cell_is_a_bad_row(self, read):
        cell = json.dumps(row(1)["messages"]).replace("q1", r"\ud800").replace('"', '""')
        items, source = read("a.csv", f'id,messages\n1,"{cell}"\n')
        assert not items
        assert "surrogate" in source.bad_rows[0].reason

    @pytest.mark.parametrize("name", ["choices", "options", "image"])
    def test_short_unread_parts_of_a_question_are_counted(self, read, name):
        _, source = read("a.jsonl", {"question": "What is it?", name: ["sky", "rose"], "answer": "B"})
        assert source.unread_columns == {name: 1}


@pytest.mark.parametrize("names", [("train", "eval"), ("bikes_train", "bikes_test"), ("a.train", "a.holdout")])
def test_splits_with_other_common_names_are_recognized(tmp_path, names):
    for name in names:
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row(1)))
    assert len(find_split_files(tmp_path)) == 2
