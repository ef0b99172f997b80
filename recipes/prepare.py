"""Make the data of the recipes in `objectives/` from dialogues: prepare.py DIALOGUES.jsonl FOLDER

FOLDER receives `dialogues.jsonl`, a copy; `pairs.jsonl`, in which a curt form of every last answer is the rejected one;
`rated.jsonl`, in which half of the dialogues end curtly and are rated bad; and `tokenizer/`, trained on the dialogues,
for models that start from nothing.
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

VOCABULARY = 2048


def answered(path: Path) -> list[Conversation]:
    """The dialogues that end with the assistant."""
    talks = (item for item in read_source(path) if isinstance(item, Conversation))
    return [talk for talk in talks if talk.messages[-1].role == "assistant" and talk.num_turns > 1]


def with_curt_ends(talks: Sequence[Conversation]) -> Iterator[Conversation]:
    """Every dialogue, with a curt form of its last answer as the one that was rejected."""
    for talk in talks:
        *before, last = talk.messages
        if (said := curt(last.content)) != last.content:
            yield replace(talk, rejected=(*before, replace(last, content=said)))


def curt(text: str) -> str:
    """A text as somebody says it who would rather be elsewhere: its first sentence, without capitals and marks."""
    return re.split(r"(?<=[.!?。！？])\s*", text)[0].lower().rstrip(".!?。！？ ")


def main(dialogues: Path, folder: Path) -> None:
    """Write the files."""
    talks = answered(dialogues)
    pairs = list(with_curt_ends(talks))
    rated = [
        Conversation(pair.rejected if number % 2 else pair.messages, pair.meta, rating=number % 2 == 0)
        for number, pair in enumerate(pairs)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "dialogues.jsonl", talks)
    write_jsonl(folder / "pairs.jsonl", pairs)
    write_jsonl(folder / "rated.jsonl", rated)
    texts = (message.content for talk in talks for message in talk.messages)
    train_bpe(texts, vocab_size=VOCABULARY).save(folder / "tokenizer")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
