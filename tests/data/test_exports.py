"""Exported chats, files with their own column and speaker names, transcripts inside a text, and tool calls."""

import json

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.data.check import check_data
from turnwise.data.read_options import ReadOptions, parse_assignments
from turnwise.data.sources import DataSource, read_source


@pytest.fixture
def read(tmp_path):
    def read(content, name="a.jsonl", **options):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return [
            [(message.role, message.content) for message in item.messages]
            for item in read_source(path, options=ReadOptions(**options))
        ]

    return read


TALK = [("user", "Open?"), ("assistant", "Until six."), ("user", "Thanks")]
WHATSAPP = {
    "Android": "12/03/2024, 18:05 - Messages are end-to-end encrypted.\n12/03/2024, 18:06 - Bob: Open?\n"
    "12/03/2024, 18:07 - Ada: Until six.\n12/03/2024, 18:08 - Bob: <Media omitted>\n12/03/2024, 18:09 - Bob: Thanks\n",
    "Android, American": "3/12/24, 6:06 PM - Bob: Open?\n3/12/24, 6:07\u202fPM - Ada: Until six.\n"
    "3/12/24, 6:08 PM - Bob: Thanks\n",
    "iPhone": "[12.03.24, 18:06:01] Bob: Open?\n\u200e[12.03.24, 18:06:30] Bob: \u200eimage omitted\n"
    "[12.03.24, 18:07:02] Ada: Until six.\n[12.03.24, 18:08:00] Bob: Thanks\n",
}


@pytest.mark.parametrize("layout", WHATSAPP)
def test_whatsapp_exports_of_all_layouts_are_read(read, layout):
    assert read(WHATSAPP[layout], "chat.txt", assistant_name="Ada") == [TALK]


def test_a_long_silence_ends_a_dialogue_and_consecutive_posts_are_one_message(read):
    text = "12/03/2024, 08:06 - Bob: Open?\n12/03/2024, 08:06 - Bob: Please\n12/03/2024, 08:07 - Ada: Yes\n"
    later = "14/03/2024, 08:06 - Bob: And today?\n14/03/2024, 08:07 - Ada: No\nCome on Friday\n"
    assert read(text + later, "chat.txt", assistant_name="Ada") == [
        [("user", "Open?\nPlease"), ("assistant", "Yes")],
        [("user", "And today?"), ("assistant", "No\nCome on Friday")],
    ]


@pytest.mark.parametrize("layout", WHATSAPP)
def test_the_error_without_an_assistant_lists_the_speakers(read, tmp_path, layout):
    with pytest.raises(InvalidData, match=r"Bob \(2\), Ada \(1\).*--assistant-name"):
        read(WHATSAPP[layout], "chat.txt")
    with pytest.raises(InvalidData, match="--assistant-name"):
        check_data([tmp_path / "chat.txt"])
    with pytest.raises(InvalidData, match="Nobody in the chat is called 'Eve'"):
        read(WHATSAPP[layout], "chat.txt", assistant_name="Eve")
    assert read(WHATSAPP[layout], "chat.txt", roles={"Ada": "assistant", "Bob": "user"}) == [TALK]


def test_chatgpt_exports_give_the_displayed_branch(read):
    def node(id, parent, role, text):
        content = {"content_type": "text", "parts": [text]}
        return {"id": id, "parent": parent, "children": [], "message": {"author": {"role": role}, "content": content}}

    nodes = [node("b", "a", "user", "Open?"), node("c", "b", "assistant", "No."), node("d", "b", "assistant", "Yes.")]
    mapping = {"a": {"id": "a", "parent": None, "children": ["b"], "message": None}} | {n["id"]: n for n in nodes}
    for current, reply in (("c", "No."), ("d", "Yes.")):
        export = [{"title": "x", "mapping": mapping, "current_node": current}]
        assert read(export, "conversations.json") == [[("user", "Open?"), ("assistant", reply)]]


def test_slack_exports_without_an_assistant_list_the_speakers(read):
    day = [{"type": "message", "user": "U1", "text": "a", "ts": "1710266760.0"},
           {"type": "message", "subtype": "channel_join", "user": "U2", "text": "joined", "ts": "1710266761.0"},
           {"type": "message", "user": "U2", "text": "b &lt;3", "ts": "1710266762.0"}]  # fmt: skip
    with pytest.raises(InvalidData, match=r"U1 \(1\), U2 \(1\)"):
        read(day, "2024-03-12.json")
    assert read(day, "2024-03-12.json", assistant_name="U2") == [[("user", "a"), ("assistant", "b <3")]]


def test_oasst_follows_the_best_answers_and_trains_on_each_once(tmp_path):
    rows = [
        {"message_id": "1", "parent_id": None, "message_tree_id": "1", "text": "q", "role": "prompter"},
        {"message_id": "2", "parent_id": "1", "message_tree_id": "1", "text": "bad", "role": "assistant", "rank": 1},
        {"message_id": "3", "parent_id": "1", "message_tree_id": "1", "text": "good", "role": "assistant", "rank": 0},
        {"message_id": "4", "parent_id": "3", "message_tree_id": "1", "text": "q2", "role": "prompter"},
        {"message_id": "5", "parent_id": "3", "message_tree_id": "1", "text": "q3", "role": "prompter"},
        {"message_id": "6", "parent_id": "4", "message_tree_id": "1", "text": "a2", "role": "assistant"},
        {"message_id": "7", "parent_id": "5", "message_tree_id": "1", "text": "a3", "role": "assistant"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    conversations = [[(m.content, m.weight) for m in item.messages] for item in read_source(tmp_path / "a.jsonl")]
    assert conversations == [
        [("q", 1), ("good", 1), ("q2", 1), ("a2", 1)],
        [("q", 1), ("good", 0), ("q3", 1), ("a3", 1)],
    ]


# Renamed columns and speakers


def test_columns_can_be_renamed(read):
    assert read("Frage;Antwort;Nr\na;b;1\n", "a.csv", columns={"user": "Frage", "assistant": "Antwort"}) == [
        [("user", "a"), ("assistant", "b")]
    ]
    row = {"prompt": "not this", "Frage": "a", "Antwort": "b"}
    assert read(row, columns={"user": "Frage", "assistant": "Antwort"}) == [[("user", "a"), ("assistant", "b")]]
    chat = {"verlauf": [{"wer": "user", "was": "a"}, {"wer": "assistant", "was": "b"}]}
    named = {"messages": "verlauf", "role": "wer", "content": "was"}
    assert read(chat, columns=named) == [[("user", "a"), ("assistant", "b")]]
    long = "gespraech,wer,was\n1,user,a\n1,assistant,b\n"
    named = {"conversation_id": "gespraech", "role": "wer", "content": "was"}
    assert read(long, "a.csv", columns=named) == [[("user", "a"), ("assistant", "b")]]


def test_unknown_columns_and_column_options_are_errors_with_advice(read):
    with pytest.raises(InvalidData, match="--columns user=Frage,assistant=Antwort"):
        read("Frage;Antwort\na;b\n", "a.csv")
    with pytest.raises(InvalidData, match=r"no column or key 'Frag' \(there are Frage, Antwort\)"):
        read("Frage;Antwort\na;b\n", "a.csv", columns={"user": "Frag", "assistant": "Antwort"})
    with pytest.raises(InvalidParameter, match="did you mean 'assistant'"):
        ReadOptions(columns={"asistant": "x"})
    with pytest.raises(InvalidParameter, match="did you mean 'assistant'"):
        ReadOptions(roles={"Ada": "asistant"})
    assert parse_assignments(["a=b,c=d", "e=f"], "columns") == {"a": "b", "c": "d", "e": "f"}
    with pytest.raises(InvalidParameter, match="NAME=VALUE"):
        parse_assignments(["a"], "columns")


def test_speakers_can_be_given_roles(read):
    chat = {"conversations": [{"from": "Bob", "value": "a"}, {"from": "Ada", "value": "b"}]}
    with pytest.raises(InvalidData, match="--role Bob=assistant"):
        read(chat)
    assert read(chat, roles={"ada": "assistant", "BOB": "user"}) == [[("user", "a"), ("assistant", "b")]]
    assert read(chat, assistant_name="Ada") == [[("user", "a"), ("assistant", "b")]]
    text = "Bob: a\nAda: b\n"
    assert read(text, "a.txt", assistant_name="Ada", roles={"Bob": "user"}) == [[("user", "a"), ("assistant", "b")]]


def test_dataset_info_sets_the_columns_and_roles_of_each_file(tmp_path):
    described = {
        "one": {"file_name": "one.json", "columns": {"prompt": "frage", "response": "antwort", "query": "mehr"}},
        "two": {
            "file_name": "two.json", "formatting": "sharegpt", "columns": {"messages": "verlauf"},
            "tags": {"role_tag": "wer", "content_tag": "was", "user_tag": "U", "assistant_tag": "A"},
        },
    }  # fmt: skip
    (tmp_path / "dataset_info.json").write_text(json.dumps(described))
    (tmp_path / "one.json").write_text(json.dumps([{"frage": "a", "mehr": "b", "antwort": "c"}]))
    (tmp_path / "two.json").write_text(json.dumps([{"verlauf": [{"wer": "U", "was": "d"}, {"wer": "A", "was": "e"}]}]))
    conversations = [[m.content for m in item.messages] for item in read_source(tmp_path)]
    assert conversations == [["a\nb", "c"], ["d", "e"]]


# Transcripts inside a text, and unread columns

TRANSCRIPTS = {
    "ChatML": "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n",
    "Llama 3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|><|start_header_id|>user"
    "<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>",
    "Llama 2": "<s>[INST] <<SYS>>\ns\n<</SYS>>\n\na [/INST] b </s>",
    "Zephyr": "<|system|>\ns</s>\n<|user|>\na</s>\n<|assistant|>\nb</s>",
    "headings": "s\n\n### Human:\na\n\n### Assistant:\nb",
    "Alpaca": "s\n\n### Instruction:\na\n\n### Response:\nb",
    "Vicuna": "s USER: a ASSISTANT: b</s>",
}


@pytest.mark.parametrize("style", TRANSCRIPTS)
def test_turns_inside_a_text_are_split(read, style):
    turns = [("system", "s"), ("user", "a"), ("assistant", "b")]
    assert read({"text": TRANSCRIPTS[style]}) == [turns]
    assert read(TRANSCRIPTS[style], "a.txt") == [turns]


def test_transcripts_continue_after_blank_lines_and_lists_stay_in_their_answer(read):
    talk = [("user", "Open?"), ("assistant", "Yes.\n\nTill six."), ("user", "Thanks"), ("assistant", "Bye.")]
    assert read("User: Open?\n\nAssistant: Yes.\n\nTill six.\n\nUser: Thanks\n\nAssistant: Bye.\n", "a.txt") == [talk]
    marked = "**User:** Open?\n\n**Assistant:** Yes.\n\nTill six.\n\n**User:** Thanks\n\n**Assistant:** Bye.\n"
    assert read(marked, "a.md") == [talk]
    headings = "## User\n\nOpen?\n\n## Assistant\n\nYes.\n\nTill six.\n\n## User\n\nThanks\n\n## Assistant\n\nBye.\n"
    assert read(headings, "a.md") == [talk]
    two = "User: a\n\nAssistant: b\n\n\nUser: c\n\nAssistant: d\n\n---\n\nUser: e\n\nAssistant: f\n"
    assert [[text for _, text in turns] for turns in read(two, "a.txt")] == [["a", "b"], ["c", "d"], ["e", "f"]]
    answer = "Note: first do this.\nA: choose it\nQ: then that"
    assert read(f"User: How?\nAssistant: {answer}\n", "a.txt") == [[("user", "How?"), ("assistant", answer)]]
    assert read("Q: a\nA: b\n", "a.txt") == [[("user", "a"), ("assistant", "b")]]


def test_unread_columns_are_listed(tmp_path):
    passage = "A long passage of the handbook that the answer was written from."
    row = {"prompt": "a", "response": "b", "passage": passage, "id": "7", "meta": {"note": passage}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "prompt": "c"}))
    source = DataSource(tmp_path / "a.jsonl")
    assert len(list(source)) == 2
    assert source.unread_columns == {"passage": 2}
    (finding,) = [entry for entry in check_data([tmp_path / "a.jsonl"]).findings if entry.kind == "unread columns"]
    assert "passage (2 rows)" in finding.message


def test_check_reports_data_that_training_rejects(tmp_path):
    (tmp_path / "a.txt").write_text("It was a dark night. The wind blew.\n")
    report = check_data([tmp_path / "a.txt"])
    assert "language modelling only" in report.verdict
    (tmp_path / "b.txt").write_text("Ada: Hello\nBob: Hi\nAda: Tea?\nBob: Yes\nAda: Here.\n")
    report = check_data([tmp_path / "b.txt"])
    assert "looks like a chat" in report.verdict


def test_reasoning_comes_before_its_reply(read):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "since c"}]
    assert read({"messages": turns})[0][1] == ("assistant", "<think>\nsince c\n</think>\n\nb")


# Tool calls in several notations

CALLS = {
    "OpenAI": {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
            {"role": "tool", "content": "1"},
            {"role": "assistant", "content": "r"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    },
    "older OpenAI": {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "content": "r"},
        ],
        "functions": [{"name": "f", "parameters": {"type": "object"}}],
    },
    "ShareGPT": {
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "1"},
            {"from": "gpt", "value": "r"},
        ],
        "tools": '[{"name": "f", "parameters": {"type": "object"}}]',
    },
    "Hermes": {
        "conversations": [
            {"from": "system", "value": 'You are a function calling AI model. <tools> [{"type": "function", '
             '"function": {"name": "f", "parameters": {"type": "object"}}}] </tools> For each call return JSON.'},
            {"from": "human", "value": "q"},
            {"from": "gpt", "value": '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'},
            {"from": "tool", "value": "<tool_response>\n1\n</tool_response>"},
            {"from": "gpt", "value": "r"},
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("family", CALLS)
def test_tool_calls_are_read_in_every_notation(tmp_path, family):
    (tmp_path / "a.jsonl").write_text(json.dumps(CALLS[family]))
    (item,) = read_source(tmp_path / "a.jsonl")
    assert [message.role for message in item.messages] == ["user", "assistant", "tool", "assistant"]
    (call,) = item.messages[1].tool_calls
    assert (call.name, call.parsed_arguments) == ("f", {"x": 1})
    assert item.messages[1].content == ""
    assert item.messages[2].content == "1"
    assert item.messages[2].tool_call_id == call.id != ""
    assert [tool.name for tool in item.tools] == ["f"]
    assert item.tools[0].definition["function"]["parameters"] == {"type": "object"}
    assert item.meta == {}
