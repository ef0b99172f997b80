"""Tables whose columns mean a conversation: which headers are known, and a row of cells as a conversation."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document, Item, RowError, Unreadable, conversation, mapping, message, meta_of, text

# Earlier names win where a table has several of them.
PROMPTS = ("prompt", "question", "user", "instruction", "input", "human", "query")
REPLIES = ("response", "answer", "assistant", "output", "reply", "completion", "gpt", "bot")
LABELS = ("label", "labels", "intent", "category", "class", "sentiment", "target")
LONG_FORM = ("conversation_id", "role", "content")
EXPECTED = (
    "columns such as prompt and response (or question and answer, user and assistant, instruction and output), "
    "or conversation_id, role and content with one message per row"
)

Parse = Callable[[Mapping[str, Any]], Item]


def find(names: Iterable[str], known: Sequence[str]) -> str | None:
    """The column of `names` that is the earliest of `known`, whatever its case."""
    by_lower = {name.strip().lower(): name for name in reversed(list(names))}
    return next((by_lower[name] for name in known if name in by_lower), None)


def long_form(names: Collection[str]) -> tuple[str, str, str] | None:
    """The columns of a table with one message per row, where it is one."""
    conversation_id, role, content = (find(names, (name,)) for name in LONG_FORM)
    return (conversation_id, role, content) if conversation_id and role and content else None


def is_known(names: Collection[str]) -> bool:
    """Whether a table with these columns can be read as conversations."""
    return bool(long_form(names) or (find(names, PROMPTS) and find(names, REPLIES)))


def parser(names: Collection[str]) -> Parse:
    """How to read a row of a table with these columns. Raises `Unreadable` where they do not make a conversation."""
    prompt, reply, plain = find(names, PROMPTS), find(names, REPLIES), find(names, ("text",))
    if prompt and reply:
        return pair_parser(names)
    if plain and not find(names, LABELS):
        return lambda row: Document(text(row[plain], f"'{plain}'"), meta_of(row, [plain]))
    found = f"Its columns are {', '.join(names)}."
    if plain:
        found += " A text with a label is a classification table: it holds no replies to learn from."
    raise Unreadable(found)


def pair_parser(names: Collection[str]) -> Parse:
    """How to read rows of one question and its answer, with an optional `system` and an Alpaca `input` column."""
    prompt, reply, system = find(names, PROMPTS), find(names, REPLIES), find(names, ("system",))
    assert prompt
    assert reply
    context = find(names, ("input",))
    context = context if context != prompt and prompt.strip().lower() == "instruction" else None
    used = [name for name in (prompt, reply, system, context) if name]

    def parse(row: Mapping[str, Any]) -> Conversation:
        question = text(row.get(prompt), f"'{prompt}'")
        if context and row.get(context):
            question += "\n" + text(row[context], f"'{context}'")
        turns = [("user", question, None), ("assistant", text(row.get(reply), f"'{reply}'"), None)]
        if system and row.get(system):
            turns.insert(0, ("system", row[system], None))
        return conversation(turns, meta_of({k: v for k, v in row.items() if v != ""}, used))

    return parse


def chat_turns(value: Any, what: str) -> list[Message]:
    """The messages in a list of them, in OpenAI's or ShareGPT's words. Raises `RowError`."""
    if not isinstance(value, list):
        raise RowError(f"'{what}' is not a list")
    return [_turn(mapping(entry), number) for number, entry in enumerate(value, start=1)]


def _turn(entry: Mapping[str, Any], number: int) -> Message:
    speaker = next((entry[key] for key in ("role", "from") if key in entry), None)
    if speaker is None:
        raise RowError(f"message {number} does not say whose it is ('role' or 'from')")
    for key in ("tool_calls", "function_call"):
        if entry.get(key):
            raise RowError(f"message {number} has '{key}', and calls of tools cannot be learned yet")
    content = next((entry[key] for key in ("content", "value") if key in entry), None)
    return message(speaker, _joined(content, number), entry.get("name"), entry.get("weight"))


def _joined(content: Any, number: int) -> Any:
    """A list of text parts as one text, a line each; anything else as it is."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in map(mapping, content):
        if part.get("type") != "text":
            raise RowError(f"message {number} has a part of type {part.get('type')!r}, and only text can be learned")
        texts.append(text(part.get("text"), f"a text part of message {number}"))
    return "\n".join(texts)
