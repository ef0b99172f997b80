"""Plays a dialogue with a system, and keeps the replies, so that a run can be resumed and judged again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service_path_parts.dialogues import Dialogue
from service_path_parts.judge import Judgement, Reply, ShopTexts, Verdict, judge
from service_path_parts.systems import Conversation, DialogueSystem
from turnwise.core.files import atomic_write
from turnwise.core.json_file import parse_json, read_bytes
from turnwise.core.messages import Message

MAX_FILE_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class PlayedTurn:
    """A message, its reply, and the verdict."""

    user: str
    reply: Reply
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class PlayedDialogue:
    """A dialogue with a system, up to the first wrong reply or the hand-off."""

    system: str
    dialogue: Dialogue
    turns: tuple[PlayedTurn, ...]

    @property
    def verdict(self) -> Verdict:
        """Wrong if a reply is wrong, resolved if all turns are, else unresolved."""
        verdicts = {turn.judgement.verdict for turn in self.turns} - {"asked"}
        if "wrong" in verdicts:
            return "wrong"
        return "resolved" if verdicts == {"resolved"} else "unresolved"

    @property
    def is_handed_off(self) -> bool:
        """True if a person takes over."""
        return any(turn.reply.is_handed_off for turn in self.turns)

    def as_dict(self, key: str) -> dict[str, Any]:
        """The dialogue as a JSON object; `key` tells what it was measured with."""
        turns = [
            {
                "user": turn.user, "text": turn.reply.text, "decision": turn.reply.decision,
                "seconds": round(turn.reply.seconds, 4), "verdict": turn.judgement.verdict,
                "reason": turn.judgement.reason or turn.judgement.slot,
            }
            for turn in self.turns
        ]  # fmt: skip
        return {
            "id": self.dialogue.id, "system": self.system, "language": self.dialogue.language,
            "kind": self.dialogue.kind, "wording": self.dialogue.wording, "verdict": self.verdict, "key": key,
            "turns": turns,
        }  # fmt: skip


class ReplayMismatch(Exception):
    """A stored dialogue has no reply to a message."""


class ReplayedConversation:
    """Returns the replies of a stored dialogue, as long as the customer writes the same."""

    def __init__(self, turns: Sequence[Mapping[str, Any]]) -> None:
        self._turns = list(turns)

    async def answer(self, messages: Sequence[Message]) -> Reply:
        """The stored reply. Raises `ReplayMismatch` if there is none."""
        position = sum(message.role == "user" for message in messages) - 1
        if position >= len(self._turns) or self._turns[position]["user"] != messages[-1].content:
            raise ReplayMismatch
        turn = self._turns[position]
        return Reply(turn["text"], turn["decision"], turn["seconds"])


async def play(dialogue: Dialogue, system: str, conversation: Conversation, shop: ShopTexts) -> PlayedDialogue:
    """Hold a dialogue. What the system may ask for is given once.

    It ends with the first wrong reply, because the customer has been misled, and when a person takes over.
    """
    messages: list[Message] = []
    played: list[PlayedTurn] = []
    for turn in dialogue.turns:
        texts = [turn.user]
        while texts:
            messages.append(Message("user", texts.pop()))
            reply = await conversation.answer(messages)
            customer_texts = [message.content for message in messages if message.role == "user"]
            judgement = judge(dialogue, turn, reply, customer_texts, shop)
            played.append(PlayedTurn(messages[-1].content, reply, judgement))
            messages.append(Message("assistant", reply.text))
            if judgement.verdict == "asked":
                texts.append(turn.asks[judgement.slot])
                turn = replace(turn, asks={key: text for key, text in turn.asks.items() if key != judgement.slot})
        if judgement.verdict == "wrong" or reply.is_handed_off:
            break
    return PlayedDialogue(system, dialogue, tuple(played))


class Journal:
    """The played dialogues of a system as JSON lines. An interrupted run continues after the last complete line."""

    def __init__(self, path: Path, key: str) -> None:
        """Open a file.

        Args:
            path: the file; it need not exist.
            key: what the dialogues are measured with. Stored dialogues with another key are played again.
        """
        self._path, self._key = path, key
        self._entries: dict[str, Any] = {}
        if path.exists():
            lines = read_bytes(path, max_bytes=MAX_FILE_BYTES).split(b"\n")[:-1]
            entries = [parse_json(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
            self._entries = {entry["id"]: entry for entry in entries if entry["key"] == key}

    async def play(self, dialogue: Dialogue, system: DialogueSystem, shop: ShopTexts) -> PlayedDialogue:
        """The dialogue by its stored replies, judged again, or played now and stored."""
        if (entry := self._entries.get(dialogue.id)) is not None:
            try:
                return await play(dialogue, system.name, ReplayedConversation(entry["turns"]), shop)
            except ReplayMismatch:
                pass  # the dialogue or the judge has changed
        played = await play(dialogue, system.name, system.start(), shop)
        self._append(played)
        return played

    def rewrite(self, played: Sequence[PlayedDialogue]) -> None:
        """Write these dialogues with their present verdicts, after the stored ones that this run left out."""
        ids = {entry.dialogue.id for entry in played}
        left_out = [_json_line(entry) for id, entry in self._entries.items() if id not in ids]
        atomic_write(self._path, "".join([*left_out, *(_json_line(entry.as_dict(self._key)) for entry in played)]))

    def _append(self, played: PlayedDialogue) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_json_line(played.as_dict(self._key)))


def _json_line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
