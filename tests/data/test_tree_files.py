"""Files of conversations with branches: our own, those of other programs, and broken ones."""

import json
from dataclasses import replace

import pytest

from turnwise.app.conversation_files import LocalConversationFiles
from turnwise.core.errors import InvalidData
from turnwise.core.messages import Message, ToolCall
from turnwise.core.stored_conversations import ConversationChanges
from turnwise.data.formats import load_format
from turnwise.data.tree_files import IMPORTED_FORMATS
from turnwise.store import open_store

FILES = LocalConversationFiles()


@pytest.fixture
def parse(tmp_path):
    def write_and_parse(content, name="chats.json"):
        path = tmp_path / "upload"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return FILES.parse(path, name)

    return write_and_parse


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


def texts(tree):
    return [(entry.message.role, entry.message.content) for entry in tree.messages]


@pytest.mark.parametrize("name", IMPORTED_FORMATS)
def test_every_imported_format_is_detected_by_its_own_example(parse, name):
    parsed = parse(load_format(name).example)
    assert parsed.format == name
    assert parsed.trees
    assert not parsed.problems


@pytest.mark.parametrize("name", ["turnwise", "chatgpt", "open_webui"])
def test_all_branches_of_a_tree_are_read(parse, name):
    [tree] = parse(load_format(name).example).trees
    assert texts(tree) == [("user", "Open?"), ("assistant", "Until six."), ("assistant", "No.")]
    question, first, second = tree.messages
    assert first.parent_id == second.parent_id == question.id
    assert (tree.head, tree.title) == (first.id, "Mill")


def test_an_exported_conversation_is_imported_unchanged(store, parse):
    id = store.create(title="Größe 'x'", model="m", settings={"system": "Be brief."}).id
    call = ToolCall("call_1", "look", '{"at": "sky"}')
    question, answer = store.append(id, [Message("user", "你好 \u2028"), Message("assistant", "", tool_calls=(call,))])
    store.append(id, [Message("tool", "blue", tool_call_id="call_1")])
    store.append(
        id,
        [Message("assistant", "other")],
        {"finish": "stop", "model": "n", "consent": "full", "seed": 1},
        parent_id=question,
    )
    store.select_branch(id, answer)
    store.update(id, ConversationChanges(is_pinned=True))
    original = store.get(id)
    [tree] = parse(FILES.write(original, "Work", "jsonl"), "x.jsonl").trees
    [copy_id] = store.add_trees([replace(tree, source_id="")], model="m").ids
    copy = store.get(copy_id)
    for name in ("title", "model", "settings", "is_pinned", "created"):
        assert getattr(copy, name) == getattr(original, name)
    for branch in ("messages", "tree"):
        assert [m.message for m in getattr(copy, branch)] == [m.message for m in getattr(original, branch)]
    assert copy.tree[3].meta == {"finish": "stop", "model": "n", "consent": "full"}
    assert copy.tree[0].meta == {"consent": "off"}, "what is stored without a consent has none"
    assert store.folders.list()[0].name == "Work"


def test_several_exports_can_be_joined(store, parse):
    for text in ("one", "two"):
        store.append(store.create(title=text, model="m").id, [Message("user", text)])
    joined = "".join(FILES.write(store.get(entry.id), "", "jsonl") for entry in store.list())
    assert [tree.title for tree in parse(joined).trees] == ["two", "one"]


def test_markdown_has_the_displayed_branch(store):
    id = store.create(title="Tea", model="m").id
    question, _ = store.append(id, [Message("user", "Tea?"), Message("assistant", "hidden")])
    store.append(id, [Message("assistant", "**Yes**")], {"model": "other"}, parent_id=question)
    text = FILES.write(store.get(id), "", "markdown")
    assert text.startswith("# Tea\n\n*m, 2")
    assert "## User\n\nTea?\n\n## Assistant (other)\n\n**Yes**\n" in text
    assert "hidden" not in text


def test_pictures_of_an_export_are_counted_and_left_out(parse):
    [row] = json.loads(load_format("chatgpt").example)
    content = row["mapping"]["b"]["message"]["content"]
    content |= {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}, "What is it?"]}
    [tree] = parse(json.dumps([row])).trees
    assert tree.num_omitted == 1
    assert tree.messages[0].message.content == "What is it?"


def test_a_message_below_one_without_text_moves_to_its_ancestor(parse):
    [row] = json.loads(load_format("open_webui").example)
    messages = row["chat"]["history"]["messages"]
    messages["b"]["content"] = ""
    messages["d"] = {"id": "d", "parentId": "b", "role": "user", "content": "And now?"}
    row["chat"]["history"]["currentId"] = "b"
    [tree] = parse(json.dumps([row])).trees
    assert [(entry.id, entry.parent_id) for entry in tree.messages] == [("a", None), ("c", "a"), ("d", "a")]
    assert tree.head == "a"


def test_a_deep_tree_is_read(parse):
    nodes = [
        {"id": str(i), "parent_id": str(i - 1) if i else None, "role": "user", "content": "x"} for i in range(5000)
    ]
    row = {"object": "turnwise.conversation", "messages": nodes[::-1]}
    [tree] = parse(json.dumps(row)).trees
    assert [entry.id for entry in tree.messages] == [str(i) for i in range(5000)]


def test_a_problem_names_file_conversation_and_line(parse):
    good = {"object": "turnwise.conversation", "messages": [{"id": "a", "role": "user", "content": "x"}]}
    cycle = [{"id": id, "parent_id": parent, "role": "user", "content": "x"} for id, parent in ("ab", "ba")]
    rows = [
        good, {**good, "messages": cycle}, {**good, "messages": [{"id": "a", "role": "who", "content": "x"}]},
        {**good, "messages": []}, {**good, "messages": good["messages"] * 2}, {**good, "settings": [1]},
        {**good, "messages": [{"id": "a", "role": "user", "content": 5}]}, {**good, "title": 5},
        {**good, "messages": [{"id": "a", "role": "assistant", "content": "", "tool_calls": [{"x": 1}]}]},
    ]  # fmt: skip
    parsed = parse("\n".join([*map(json.dumps, rows), "{broken"]), "mine.jsonl")
    assert len(parsed.trees) == 1
    assert parsed.problems[0].position == "mine.jsonl, conversation 2 (line 2)"
    reasons = [problem.reason for problem in parsed.problems]
    expected = ["cycle", "unknown role", "no messages", "same 'id'", "'settings'", "not text", "'title'", "tool calls",
                "not valid JSON"]  # fmt: skip
    assert all(part in reason for part, reason in zip(expected, reasons, strict=True)), reasons


def variants(value):
    """Copies of a JSON value with one part of it replaced by a value of another type, or by an extreme one."""
    yield from (None, True, 5, -1, 10**400, 1e308, "0001-01-01", "\ud800", [], [5], {}, {"a": 5}, ["x"])
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        for variant in variants(part):
            copy = value.copy()
            copy[key] = variant
            yield copy


@pytest.mark.parametrize("name", IMPORTED_FORMATS)
def test_a_part_of_an_unexpected_type_is_a_problem_and_no_failure(tmp_path, store, name):
    example = load_format(name).example
    row = json.loads(example.splitlines()[0] if name in ("turnwise", "openai") else example)
    row = row[0] if isinstance(row, list) else row
    path = tmp_path / "upload"
    path.write_text("\n".join(json.dumps(entry) for entry in [row, *variants(row)]), encoding="utf-8")
    parsed = FILES.parse(path, "chats.jsonl")
    assert parsed.format == name
    store.add_trees(parsed.trees, model="m")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"message": "Open?"}, "'message' of a node is text, not an object"),
        ({"message": {"metadata": [1]}}, "'metadata' of a node is a list, not an object"),
        ({"message": {"author": "user", "content": {"parts": ["x"]}}}, "'author' of a node is text, not an object"),
        ({"message": {"content": {"parts": 5}}}, "'parts' of a message is a number, not a list"),
    ],
)
def test_a_malformed_node_of_chatgpt_is_explained(parse, change, reason):
    [row] = json.loads(load_format("chatgpt").example)
    row["mapping"]["b"] |= change
    assert [problem.reason for problem in parse(json.dumps([row])).problems] == [reason]


@pytest.mark.parametrize(
    ("time", "seconds"),
    [(10**400, None), ("0001-01-01", 0.0), ("1970-01-02", 86400.0), (1710266760000, 1710266760.0), (1e300, None)],
)
def test_a_time_beyond_the_calendar_is_unknown_and_one_before_1970_is_zero(parse, time, seconds):
    row = {"object": "turnwise.conversation", "messages": [{"id": "a", "role": "user", "content": "x"}]}
    [tree] = parse(json.dumps({**row, "created": time})).trees
    assert tree.created == seconds


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty"),
        (b"PK\x03\x04" + b"\0" * 40, "import the JSON file in it"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "an image"),
        ("[]", "no conversations"),
        ('{"question": "a", "answer": "b"}', "are imported from"),
        ('{"x": 1}', "No known data format"),
        ("hello", "not valid JSON"),
    ],
)
def test_a_file_of_another_kind_is_rejected_with_its_name(parse, content, reason):
    with pytest.raises(InvalidData, match=reason) as error:
        parse(content, "upload.json")
    assert "upload.json" in str(error.value)
