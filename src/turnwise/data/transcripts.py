"""Dialogues inside one text: chat-template markers, "### Human:" headings and "Human: …" lines."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from turnwise.core.messages import Message, Role
from turnwise.data.parse_context import ROLE_OF_SPEAKER

_NAMES = "system|developer|user|human|assistant|model|bot|gpt|tool|function|observation|ipython"
# Each pattern matches the start of a turn; its group is the speaker.
_CHATML = re.compile(rf"<\|im_start\|>\s*({_NAMES})[ \t]*\n?", re.IGNORECASE)
_LLAMA3 = re.compile(rf"<\|start_header_id\|>\s*({_NAMES})\s*<\|end_header_id\|>\n*", re.IGNORECASE)
_GEMMA = re.compile(rf"<start_of_turn>\s*({_NAMES})[ \t]*\n?", re.IGNORECASE)
_TAGS = re.compile(rf"<\|({_NAMES})\|>[ \t]*\n?", re.IGNORECASE)
_HEADINGS = re.compile(
    r"(?:^|(?<=\n))[ \t]*###\s*(System|Human|User|Instruction|Input|Question|Assistant|Response|Answer|Output)"
    r"\s*:[ \t]*\n?",
    re.IGNORECASE,
)
_VICUNA = re.compile(r"(?:^|(?<=\s)|(?<=</s>))(USER|ASSISTANT): ?")
_LINES = re.compile(
    r"(?:^|(?<=\n))[ \t]*(Human|User|Assistant|Bot|AI|GPT|Customer|Agent|用户|助手|客服|客户)\s*[:：][ \t]*",
    re.IGNORECASE,
)
# A prompt that ends with the speaker of the reply.
_OPEN_REPLY = re.compile(r"\n[ \t]*(?:Assistant|Bot|AI|GPT|Agent|助手|客服)\s*[:：]\s*$", re.IGNORECASE)
_LLAMA2 = re.compile(r"\[INST\](.*?)\[/INST\](.*?)(?=(?:<s>\s*)?\[INST\]|\Z)", re.DOTALL)
_LLAMA2_SYSTEM = re.compile(r"\s*<<SYS>>\s*(.*?)\s*<</SYS>>\s*", re.DOTALL)
_END_TOKEN = re.compile(
    r"\s*(?:<\|im_end\|>|<\|eot_id\|>|<\|end_of_text\|>|<end_of_turn>|<\|end\|>|<\|endoftext\|>|</s>|<eos>)\s*$"
)
_START_TOKEN = re.compile(r"^\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|endoftext\|>)\s*")
_ROLE_OF_HEADING: dict[str, Role] = {
    "instruction": "user", "input": "user", "response": "assistant", "output": "assistant",
}  # fmt: skip
_NAMED_LINE = re.compile(
    r"(?:\[[^\]\n]{3,30}\]\s*|\d[\d.:/,\- ]{4,20}(?:[AaPp][Mm])?\s*[-–]?\s*)?([^\W\d][\w .'’-]{0,30}?)\s*[:：]\s"
)
Splitter = Callable[[str], list[Message] | None]


def split_markers(text: str, *, is_prompt: bool = False) -> list[Message] | None:
    """Split a text with chat-template markers or "###" headings into messages; None for other text.

    Args:
        text: a dialogue.
        is_prompt: True if the text may end before the reply. Otherwise it needs an assistant message.
    """
    markers = (_CHATML, _LLAMA3, _GEMMA, _TAGS, _HEADINGS, _VICUNA)
    return _first_split(text, (_split_llama2, *map(_splitter, markers)), is_prompt)


def split_transcript(text: str) -> list[Message] | None:
    """Split a text with markers, or with lines that start with "Human:" and "Assistant:"; None for other text."""
    return split_markers(text) or _first_split(text, (_splitter(_LINES),))


def split_prompt(text: str) -> list[Message] | None:
    """Split a prompt with markers, or one that starts with "Human:" or ends with "Assistant:"; None for other text."""
    messages = split_markers(text, is_prompt=True)
    if messages is None and (text.lstrip("\n").startswith("Human:") or _OPEN_REPLY.search(text)):
        messages = _first_split(text, (_splitter(_LINES),), is_prompt=True)
    return messages


def _first_split(text: str, splitters: Sequence[Splitter], is_prompt: bool = False) -> list[Message] | None:
    """Return the messages of the first splitter that finds a user and, unless `is_prompt`, an assistant message."""
    required = {"user"} if is_prompt else {"user", "assistant"}
    for split in splitters:
        messages = split(text)
        if messages and required <= {message.role for message in messages}:
            return messages
    return None


def _splitter(marker: re.Pattern[str]) -> Splitter:
    """Return a function that splits a text at the matches of `marker`."""

    def split(text: str) -> list[Message] | None:
        text = _START_TOKEN.sub("", text)
        marks = list(marker.finditer(text))
        roles = [_role(mark.group(1)) for mark in marks]
        # A text of one speaker is not a dialogue. A last turn without content, as in a prompt, counts.
        if len(marks) < 2 or not {"user", "assistant"} <= set(roles):
            return None
        preamble = text[: marks[0].start()].strip()
        if preamble and marker not in (_HEADINGS, _VICUNA):
            return None
        messages = [Message("system", preamble)] if preamble else []
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        for mark, role, end in zip(marks, roles, ends, strict=True):
            content = _END_TOKEN.sub("", text[mark.end() : end]).strip()
            if not content:
                continue
            last = messages[-1] if messages else None
            if last is not None and last.role == role == "user" and mark.group(1).lower() == "input":
                messages[-1] = Message("user", f"{last.content}\n{content}")  # Alpaca: ### Instruction, ### Input
            else:
                messages.append(Message(role, content))
        return messages

    return split


def _split_llama2(text: str) -> list[Message] | None:
    text = _START_TOKEN.sub("", text)
    exchanges = list(_LLAMA2.finditer(text))
    if not exchanges or text[: exchanges[0].start()].strip():
        return None
    messages: list[Message] = []
    for exchange in exchanges:
        question, answer = exchange.group(1), _END_TOKEN.sub("", exchange.group(2)).strip()
        system = _LLAMA2_SYSTEM.match(question) if not messages else None
        if system:
            messages.append(Message("system", system.group(1)))
            question = question[system.end() :]
        messages.append(Message("user", question.strip()))
        if answer:
            messages.append(Message("assistant", answer))
    return [message for message in messages if message.content]


def _role(speaker: str) -> Role:
    name = speaker.lower()
    return _ROLE_OF_HEADING.get(name) or ROLE_OF_SPEAKER[name]


def looks_like_chat(text: str) -> bool:
    """Return True if many of the first lines start with one of a few alternating names, as in a copied chat."""
    lines = [line.strip() for line in text.split("\n") if line.strip()][:200]
    names = [match.group(1) for line in lines if (match := _NAMED_LINE.match(line))]
    num_changes = sum(name != next_name for name, next_name in pairwise(names))
    return len(names) >= max(4, len(lines) // 2) and len(set(names)) <= max(4, len(names) // 5) and num_changes >= 2
