"""Intent classification by nearest neighbour: accuracy of a model's embeddings compared with a bag of words.

    python benchmarks/embeddings.py DATA [--model FOLDER | --embedding-model NAME [--quantize int8]]

DATA has a folder for each data set (`DATASETS`) with train.csv.gz and valid.csv.gz (columns text, label). --model is a
chat model, --embedding-model an embedding model. embedding_speed.py measures their speed.
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

DATASETS = {"bitext_intents": "valid", "clinc150": "valid"}  # split of the queries by folder
TRAIN_PER_INTENT = 20
NUM_QUERIES = 500

Example = tuple[str, str]
"""A text and its intent."""


def read_examples(path: Path) -> list[Example]:
    """Texts with their labels, without those labelled out of scope ("oos"), which have no intent."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file) if row["label"] != "oos"]


def sample(folder: Path, query_split: str) -> tuple[list[Example], list[Example]]:
    """Random training examples, at most `TRAIN_PER_INTENT` of each intent, and `NUM_QUERIES` random queries."""
    rng = random.Random(0)
    candidates, queries = read_examples(folder / "train.csv.gz"), read_examples(folder / f"{query_split}.csv.gz")
    rng.shuffle(candidates)
    rng.shuffle(queries)
    counts: Counter[str] = Counter()
    train = []
    for text, label in candidates:
        if counts[label] < TRAIN_PER_INTENT:
            counts[label] += 1
            train.append((text, label))
    return train, queries[:NUM_QUERIES]


async def embed(service: ChatService | EmbeddingService, texts: list[str]) -> NDArray[np.float64]:
    """Embeddings of the texts, one row per text."""
    if isinstance(service, EncoderEmbeddingService):
        return np.array((await service.embed(EmbeddingRequest(texts, truncate_prompt_tokens=-1))).vectors)
    return np.array([vector for vector, _ in await asyncio.gather(*(service.embed(text) for text in texts))])


def tf_idf(train: list[str], queries: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bag-of-words vectors with tf-idf weights and length 1, one row per text."""
    document_counts = Counter(word for text in train for word in set(text.lower().split()))
    index = {word: i for i, word in enumerate(document_counts)}
    idf = np.log(len(train) / np.array(list(document_counts.values())))

    def vector_of(text: str) -> NDArray[np.float64]:
        vector = np.zeros(len(index))
        for word in text.lower().split():
            if word in index:
                vector[index[word]] += idf[index[word]]
        return vector / (np.linalg.norm(vector) or 1)

    return np.array([vector_of(text) for text in train]), np.array([vector_of(text) for text in queries])


def accuracy(
    train_vectors: NDArray[np.float64], query_vectors: NDArray[np.float64], train_labels: list[str], labels: list[str]
) -> float:
    """Share of queries whose nearest training example has the same label."""
    nearest = (query_vectors @ train_vectors.T).argmax(axis=1)
    return float(np.mean([train_labels[i] == label for i, label in zip(nearest, labels, strict=True)]))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--embedding-model")
    parser.add_argument("--quantize", choices=["int8"])
    args = parser.parse_args()
    print("| set | intents | embeddings | bag of words |\n| --- | --- | --- | --- |")
    if args.embedding_model:
        context = nullcontext(open_embedding_service(args.embedding_model, quantize=args.quantize))
    else:
        context = open_chat_service(args.model)
    with context as service:
        for name, query_split in DATASETS.items():
            train, queries = sample(args.data / name, query_split)
            train_texts, train_labels = map(list, zip(*train, strict=True))
            query_texts, query_labels = map(list, zip(*queries, strict=True))
            embeddings = [asyncio.run(embed(service, texts)) for texts in (train_texts, query_texts)]
            accuracies = [
                accuracy(*vectors, train_labels, query_labels)
                for vectors in (embeddings, tf_idf(train_texts, query_texts))
            ]
            print(
                f"| {name} | {len(set(train_labels))} | " + " | ".join(f"{value:.1%}" for value in accuracies) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
