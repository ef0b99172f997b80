"""Builds the data of the recipes in `objectives/` from dialogues: prepare.py DIALOGUES.jsonl FOLDER

FOLDER receives `dialogues.jsonl`, a copy; `pairs.jsonl`, with a curt form of the last reply as the rejected one;
`rated.jsonl`, in which half of the dialogues end with the curt reply and are rated bad; and `tokenizer/`, trained on
the dialogues, for new models.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from turnwise.core.messages import Conversation
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import read_source
from turnwise.text.tokenization.bpe_training import train_bpe

VOCAB_SIZE = 2048


def read_answered_dialogues(path: Path) -> list[Conversation]:
    """Read the dialogues that end with a reply."""
    dialogues = (item for item in read_source(path) if isinstance(item, Conversation))
    return [item for item in dialogues if item.messages[-1].role == "assistant" and item.num_turns > 1]


def with_rejected_replies(dialogues: Sequence[Conversation]) -> Iterator[Conversation]:
    """Yield each dialogue with a curt form of its last reply as the rejected one."""
    for dialogue in dialogues:
        *history, reply = dialogue.messages
        if (curt_reply := shorten(reply.content)) != reply.content:
            yield replace(dialogue, rejected=(*history, replace(reply, content=curt_reply)))


def shorten(text: str) -> str:
    """Return the first sentence in lower case without final punctuation."""
    return re.split(r"(?<=[.!?。！？])\s*", text)[0].lower().rstrip(".!?。！？ ")


def main(dialogues: Path, folder: Path) -> None:
    """Write the files."""
    answered = read_answered_dialogues(dialogues)
    pairs = list(with_rejected_replies(answered))
    rated = [
        Conversation(pair.rejected if number % 2 else pair.messages, pair.meta, rating=number % 2 == 0)
        for number, pair in enumerate(pairs)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "dialogues.jsonl", answered)
    write_jsonl(folder / "pairs.jsonl", pairs)
    write_jsonl(folder / "rated.jsonl", rated)
    texts = (message.content for dialogue in answered for message in dialogue.messages)
    train_bpe(texts, vocab_size=VOCAB_SIZE).save(folder / "tokenizer")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
