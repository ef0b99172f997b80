"""Builds the data of the recipes in `objectives/` from dialogues: prepare.py DIALOGUES.jsonl FOLDER

FOLDER receives `dialogues.jsonl`, a copy; `pairs.jsonl`, with a curt form of the last reply as the rejected one;
`rated.jsonl`, in which half of the dialogues end with the curt reply and are rated bad; `speakers.jsonl`, the
messages labelled by who wrote them; `numbers.jsonl`, their words with a tag for those that hold a digit; and
`tokenizer/`, trained on the dialogues, for new models.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from turnwise.core.files import atomic_write
from turnwise.core.messages import Conversation, Message
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


def labelled_row(message: Message) -> dict[str, object]:
    """A message labelled by who wrote it."""
    return {"text": message.content, "label": "customer" if message.role == "user" else "shop"}


def tagged_row(message: Message) -> dict[str, object]:
    """The words of a message, tagged as numbers if they hold a digit."""
    words = re.findall(r"\w+|[^\w\s]", message.content)
    return {"tokens": words, "tags": ["B-NUMBER" if re.search(r"\d", word) else "O" for word in words]}


def write_rows(path: Path, rows: Iterator[dict[str, object]]) -> None:
    """Write JSON lines."""
    atomic_write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


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
    messages = [message for dialogue in answered for message in dialogue.messages if message.content.strip()]
    write_rows(folder / "speakers.jsonl", map(labelled_row, messages))
    write_rows(folder / "numbers.jsonl", map(tagged_row, messages))
    texts = (message.content for dialogue in answered for message in dialogue.messages)
    train_bpe(texts, vocab_size=VOCAB_SIZE).save(folder / "tokenizer")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
