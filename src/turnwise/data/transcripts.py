"""Dialogues written out inside one text: chat templates' markers, "### Human:" headings and "Human: …" lines."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from turnwise.core.messages import Message, Role
from turnwise.data.parse_context import ROLE_OF_SPEAKER

_NAMES = "system|developer|user|human|assistant|model|bot|gpt|tool|function|observation|ipython"
# Each pattern marks the beginning of a turn; the speaker is its group.
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
# The end of a prompt that asks for a reply.
_ASKS = re.compile(r"\n[ \t]*(?:Assistant|Bot|AI|GPT|Agent|助手|客服)\s*[:：]\s*$", re.IGNORECASE)
_LLAMA2 = re.compile(r"\[INST\](.*?)\[/INST\](.*?)(?=(?:<s>\s*)?\[INST\]|\Z)", re.DOTALL)
_LLAMA2_SYSTEM = re.compile(r"\s*<<SYS>>\s*(.*?)\s*<</SYS>>\s*", re.DOTALL)
_ENDS = re.compile(
    r"\s*(?:<\|im_end\|>|<\|eot_id\|>|<\|end_of_text\|>|<end_of_turn>|<\|end\|>|<\|endoftext\|>|</s>|<eos>)\s*$"
)
_STARTS = re.compile(r"^\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|endoftext\|>)\s*")
_INSTRUCTION: dict[str, Role] = {
    "instruction": "user", "input": "user", "response": "assistant", "output": "assistant",
}  # fmt: skip


def split_markers(text: str, *, is_prompt: bool = False) -> list[Message] | None:
    """The turns of a text with a chat template's markers or "###" headings; None for a text without such.

    Args:
        text: a dialogue.
        is_prompt: whether the reply may stand elsewhere, so that none is needed here.
    """
    return _split(text, (_split_llama2, *map(_by, (_CHATML, _LLAMA3, _GEMMA, _TAGS, _HEADINGS, _VICUNA))), is_prompt)


def split_transcript(text: str) -> list[Message] | None:
    """Likewise, and of a text whose lines begin with "Human:" and "Assistant:"."""
    return split_markers(text) or _split(text, (_by(_LINES),))


def split_prompt(text: str) -> list[Message] | None:
    """The turns of a prompt that spells a dialogue with markers, or begins or ends as Anthropic's do."""
    has_lines = text.lstrip("\n").startswith("Human:") or _ASKS.search(text) is not None
    return split_markers(text, is_prompt=True) or (_split(text, (_by(_LINES),), True) if has_lines else None)


def _split(
    text: str, ways: Sequence[Callable[[str], list[Message] | None]], is_prompt: bool = False
) -> list[Message] | None:
    needed = {"user"} if is_prompt else {"user", "assistant"}
    for split in ways:
        messages = split(text)
        if messages and needed <= {message.role for message in messages}:
            return messages
    return None


def _by(marker: re.Pattern[str]) -> Callable[[str], list[Message] | None]:
    def split(text: str) -> list[Message] | None:
        text = _STARTS.sub("", text)
        marks = list(marker.finditer(text))
        roles = [_role(mark.group(1)) for mark in marks]
        # One speaker alone is no dialogue; an unanswered last turn, as in a prompt, counts.
        if len(marks) < 2 or not {"user", "assistant"} <= set(roles):
            return None
        preamble = text[: marks[0].start()].strip()
        if preamble and marker not in (_HEADINGS, _VICUNA):
            return None
        messages = [Message("system", preamble)] if preamble else []
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        for mark, role, end in zip(marks, roles, ends, strict=True):
            content = _ENDS.sub("", text[mark.end() : end]).strip()
            if not content:
                continue
            last = messages[-1] if messages else None
            if last is not None and last.role == role == "user" and mark.group(1).lower() == "input":
                messages[-1] = Message("user", f"{last.content}\n{content}")
            else:
                messages.append(Message(role, content))
        return messages

    return split


def _split_llama2(text: str) -> list[Message] | None:
    text = _STARTS.sub("", text)
    exchanges = list(_LLAMA2.finditer(text))
    if not exchanges or text[: exchanges[0].start()].strip():
        return None
    messages: list[Message] = []
    for exchange in exchanges:
        question, answer = exchange.group(1), _ENDS.sub("", exchange.group(2)).strip()
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
    return _INSTRUCTION.get(name) or ROLE_OF_SPEAKER[name]


def looks_like_chat(text: str) -> bool:
    """Whether lines of a text begin with a few names that take turns, as in a chat that has been copied."""
    lines = [line.strip() for line in text.split("\n") if line.strip()][:200]
    names = [match.group(1) for line in lines if (match := _NAMED_LINE.match(line))]
    turns = sum(one != other for one, other in pairwise(names))
    return len(names) >= max(4, len(lines) // 2) and len(set(names)) <= max(4, len(names) // 5) and turns >= 2


_NAMED_LINE = re.compile(
    r"(?:\[[^\]\n]{3,30}\]\s*|\d[\d.:/,\- ]{4,20}(?:[AaPp][Mm])?\s*[-–]?\s*)?([^\W\d][\w .'’-]{0,30}?)\s*[:：]\s"
)
