"""Make the data of the recipes in `objectives/` from dialogues: prepare.py DIALOGUES.jsonl FOLDER

FOLDER receives `dialogues.jsonl`, a copy; `pairs.jsonl`, in which every dialogue has another one's last answer as its
rejected end; `rated.jsonl`, in which half of the dialogues end with another one's answer and are rated bad; and
`tokenizer/`, trained on the dialogues, for models that start from nothing.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from turnwise.core.messages import Conversation
from turnwise.data.sources import read_source
from turnwise.data.writing import write_jsonl
from turnwise.text.bpe import train_bpe

VOCABULARY = 2048


def answered(path: Path) -> list[Conversation]:
    """The dialogues that end with the assistant."""
    talks = (item for item in read_source(path) if isinstance(item, Conversation))
    return [talk for talk in talks if talk.messages[-1].role == "assistant" and talk.turns > 1]


def with_other_ends(talks: Sequence[Conversation], rng: random.Random) -> Iterator[Conversation]:
    """Every dialogue, with the end of another as the one that was rejected."""
    for talk in talks:
        ends = [other.messages[-1] for other in rng.sample(list(talks), min(20, len(talks)))]
        end = next((end for end in ends if end.content != talk.messages[-1].content), None)
        if end is not None:
            yield replace(talk, rejected=(*talk.messages[:-1], end))


def main(dialogues: Path, folder: Path) -> None:
    """Write the files."""
    talks = answered(dialogues)
    pairs = list(with_other_ends(talks, random.Random(0)))
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
