"""How much a model's embeddings know: the intent of a question by its nearest neighbour, beside a bag of words.

python benchmarks/embeddings.py DATA [--model FOLDER | --embedding-model NAME [--quantize int8]]

DATA holds classification sets as folders with train.csv.gz and valid.csv.gz (columns text, label). --model is a chat
model, --embedding-model an embedding model. Speed is measured by embedding_speed.py.
"""

import argparse
import asyncio
import csv
import gzip
import random
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnwise.app.chat_services import open_chat_service
from turnwise.app.embedding_services import open_embedding_service
from turnwise.chat.embedding_service import EncoderEmbeddingService
from turnwise.core.chat_service import ChatService
from turnwise.core.embedding_service import EmbeddingRequest, EmbeddingService

SETS = {"bitext_intents": "valid", "clinc150": "valid"}
KNOWN, ASKED = 20, 500  # labelled questions of each intent, and questions to find the intent of


def rows(path: Path) -> list[tuple[str, str]]:
    """Texts and their labels; what is out of scope is nobody's intent."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file) if row["label"] != "oos"]


def sample(folder: Path, other: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Twenty known questions of each intent, and five hundred others."""
    rng = random.Random(0)
    known, asked = rows(folder / "train.csv.gz"), rows(folder / f"{other}.csv.gz")
    rng.shuffle(known)
    rng.shuffle(asked)
    taken: Counter[str] = Counter()
    few = []
    for text, label in known:
        if taken[label] < KNOWN:
            taken[label] += 1
            few.append((text, label))
    return few, asked[:ASKED]


async def embedded(service: ChatService | EmbeddingService, texts: list[str]) -> NDArray[np.float64]:
    """A row for every text."""
    if isinstance(service, EncoderEmbeddingService):
        return np.array((await service.embed(EmbeddingRequest(texts, truncate_prompt_tokens=-1))).vectors)
    return np.array([vector for vector, _ in await asyncio.gather(*(service.embed(text) for text in texts))])


def bags(known: list[str], asked: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Words weighted by how rare they are (tf-idf), scaled to length one."""
    documents = Counter(word for text in known for word in set(text.lower().split()))
    index = {word: i for i, word in enumerate(documents)}
    rarity = np.log(len(known) / np.array(list(documents.values())))

    def bag(text: str) -> NDArray[np.float64]:
        vector = np.zeros(len(index))
        for word in text.lower().split():
            if word in index:
                vector[index[word]] += rarity[index[word]]
        return vector / (np.linalg.norm(vector) or 1)

    return np.array([bag(text) for text in known]), np.array([bag(text) for text in asked])


def accuracy(known: NDArray[np.float64], asked: NDArray[np.float64], names: list[str], truth: list[str]) -> float:
    """How often the nearest known question has the right label."""
    nearest = (asked @ known.T).argmax(axis=1)
    return float(np.mean([names[i] == label for i, label in zip(nearest, truth, strict=True)]))


def main() -> None:
    """Print a row for every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--embedding-model")
    parser.add_argument("--quantize", choices=["int8"])
    options = parser.parse_args()
    print("| set | intents | embeddings | bag of words |\n| --- | --- | --- | --- |")
    if options.embedding_model:
        context = nullcontext(open_embedding_service(options.embedding_model, quantize=options.quantize))
    else:
        context = open_chat_service(options.model)
    with context as service:
        for name, other in SETS.items():
            known, asked = sample(options.data / name, other)
            labels, truth = [label for _, label in known], [label for _, label in asked]
            k = asyncio.run(embedded(service, [text for text, _ in known]))
            a = asyncio.run(embedded(service, [text for text, _ in asked]))
            words = bags([text for text, _ in known], [text for text, _ in asked])
            found = [accuracy(*pair, labels, truth) for pair in ((k, a), words)]
            print(f"| {name} | {len(set(labels))} | " + " | ".join(f"{one:.1%}" for one in found) + " |", flush=True)


if __name__ == "__main__":
    main()
