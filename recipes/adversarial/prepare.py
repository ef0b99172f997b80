"""Divides dialogues of customer service for the adversarial experiment: prepare.py [DATA] OUT

DATA is a data file or a folder of them; the assistant speaks for the company. OUT receives

    generator_train.jsonl, generator_valid.jsonl    beginnings of dialogues, for training on all of their replies
    generator_contexts.jsonl                        those of generator_train, cut at one reply, for sampling replies
    evaluator_train.jsonl, evaluator_valid.jsonl    contexts with the human reply, for the fresh evaluator only
    test.jsonl                                      contexts with the human reply, for measuring only

A context is the beginning of a dialogue, at most `MAX_CONTEXT_MESSAGES` messages. Dialogues that open with the same
message, without regard to case and punctuation, are in one part, and the parts for the evaluator and for measuring have
one of them. Everything is drawn by hashes: the same DATA gives the same files, in any order of its rows.
"""

import argparse
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.fingerprint import normalize_text
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import read_source

MAX_CONTEXT_MESSAGES = 6
MAX_REPLY_CHARS = 1_000
COUNTS = {"test": 600, "evaluator_valid": 300, "evaluator_train": 1_500, "generator_valid": 300}
REST = "generator_train"


def read_dialogues(path: Path) -> list[Conversation]:
    """Read the beginnings of all dialogues with a reply, each with an intent for the distractors of R@1."""
    beginnings = (beginning(item) for item in read_source(path) if isinstance(item, Conversation))
    return [dialogue for dialogue in beginnings if dialogue.messages]


def beginning(dialogue: Conversation) -> Conversation:
    """The first messages up to the last reply that a context can have; no message if there is no reply."""
    last = max(reply_positions(dialogue), default=-1)
    services = dialogue.meta.get("services") or [""]  # the Schema-Guided Dialogues name services, not one intent
    meta = {"intent": dialogue.meta.get("intent") or services[0], "id": dialogue.meta.get("id", "")}
    return replace(dialogue, messages=dialogue.messages[: last + 1], meta={k: v for k, v in meta.items() if v})


def reply_positions(dialogue: Conversation) -> list[int]:
    """Indices of the replies that a context can end with."""
    return [
        index
        for index, message in enumerate(dialogue.messages[: MAX_CONTEXT_MESSAGES + 1])
        if message.role == "assistant"
        and index > 0
        and dialogue.messages[index - 1].role == "user"
        and 0 < len(message.content.strip()) <= MAX_REPLY_CHARS
    ]


def cut_at_reply(dialogue: Conversation) -> Conversation:
    """The dialogue up to one of its replies, which a hash of the dialogue draws."""
    positions = reply_positions(dialogue)
    position = positions[hash_text("reply", content_text(dialogue)) % len(positions)]
    return replace(dialogue, messages=dialogue.messages[: position + 1])


def split_dialogues(dialogues: Iterable[Conversation], counts: dict[str, int]) -> dict[str, list[Conversation]]:
    """Divide dialogues into parts: as many groups of equal openings as `counts` says, and the rest for training.

    Raises:
        InvalidData: there are too few dialogues for the parts.
    """
    groups: dict[str, list[Conversation]] = {}
    for dialogue in dialogues:
        groups.setdefault(opening(dialogue), []).append(dialogue)
    if len(groups) <= sum(counts.values()):
        raise InvalidData(
            f"The data has {len(groups):,} different openings; the parts need more than {sum(counts.values()):,}. "
            "Give smaller parts, for example --evaluator-train 500."
        )
    keys = sorted(groups, key=lambda key: hash_text("part", key))
    parts: dict[str, list[Conversation]] = {}
    for name, count in counts.items():
        parts[name] = [min(groups[key], key=content_text) for key in keys[:count]]
        keys = keys[count:]
    parts[REST] = [dialogue for key in keys for dialogue in sorted(groups[key], key=content_text)]
    return parts


def opening(dialogue: Conversation) -> str:
    """The first message of the user, normalized."""
    return normalize_text(next(message.content for message in dialogue.messages if message.role == "user"))


def content_text(dialogue: Conversation) -> str:
    """All messages as one text."""
    return "\n".join(f"{message.role}: {message.content}" for message in dialogue.messages)


def hash_text(purpose: str, text: str) -> int:
    """A number that looks random, the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{purpose}\n{text}".encode()).digest()[:8], "big")


def main(data: Path, out: Path, counts: dict[str, int]) -> None:
    """Write all parts."""
    parts = split_dialogues(read_dialogues(data), counts)
    contexts: dict[str, Sequence[Conversation]] = {
        name: [cut_at_reply(dialogue) for dialogue in parts[name]]
        for name in ("test", "evaluator_valid", "evaluator_train")
    }
    files = parts | contexts | {"generator_contexts": [cut_at_reply(dialogue) for dialogue in parts[REST]]}
    for name, dialogues in files.items():
        print(f"{out / name}.jsonl: {write_jsonl(out / f'{name}.jsonl', dialogues):,} dialogues")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path("sgd"), help="default: the folder sgd")
    parser.add_argument("out", type=Path)
    for part_name, default in COUNTS.items():
        parser.add_argument(f"--{part_name.replace('_', '-')}", type=int, default=default, metavar="COUNT")
    options = parser.parse_args()
    main(options.data, options.out, {name: getattr(options, name) for name in COUNTS})
