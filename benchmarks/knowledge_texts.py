"""Texts for the speed of a knowledge base (`knowledge.py`)."""

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

PIECE_CHARS = 800


def read_texts(folder: Path, max_texts: int) -> list[str]:
    """Pieces of about 800 characters of all texts of a folder."""
    pieces: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".jsonl.gz"):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                texts = [json.loads(line).get("text", "") for line in file]
        elif path.suffix == ".txt":
            texts = [path.read_text(encoding="utf-8", errors="replace")]
        else:
            continue
        pieces += [text[i : i + PIECE_CHARS] for text in texts for i in range(0, len(text), PIECE_CHARS)]
        if len(pieces) >= max_texts:
            break
    if not pieces:
        raise SystemExit(f"{folder} has no *.jsonl.gz with a 'text' and no *.txt.")
    random.Random(0).shuffle(pieces)
    return pieces[:max_texts]


def vary_texts(pieces: Sequence[str], count: int) -> Iterator[str]:
    """Texts; a repeated one has some of its words exchanged with those of another one."""
    rng = random.Random(1)
    for number in range(count):
        text = pieces[number % len(pieces)]
        if number >= len(pieces):
            words, others = text.split(), rng.choice(pieces).split() or ["x"]
            for _ in range(len(words) // 5):
                words[rng.randrange(len(words))] = rng.choice(others)
            text = " ".join(words)
        yield text or "empty"
