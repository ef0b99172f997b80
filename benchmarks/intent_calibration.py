"""Calibration of the intents of the service path on BANKING77 and CLINC150: is a probability of 0.8 right in 8 of 10?

    python benchmarks/intent_calibration.py DATA/banking77/train.csv.gz --embedding-model e5-small \
        --none-from DATA/clinc150/train.csv.gz --none-except banking credit_cards
    python benchmarks/intent_calibration.py DATA/clinc150/train.csv.gz --test DATA/clinc150/valid.csv.gz --none oos

Fits the classifier as for a scenario, with a few examples per intent, and predicts messages that it has not seen: those
of `--test`, or the other ones of the file. Messages of the label `--none` have no intent, so every prediction for them
is wrong; at most so many of them are drawn that one message in five has none. `--none-from` takes them from another
file. Prints accuracy, the expected calibration error in 10 and 15 bins of equal width, and a table of the bins.
"""

import argparse
import asyncio
import csv
import gzip
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from turnwise.app.embedding_services import open_embedding_service
from turnwise.chat.service_path.intent_classifier import TextEncoder
from turnwise.chat.service_path.intent_training import fit_intent_head
from turnwise.chat.service_path.logistic_head import expected_calibration_error
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder, LexicalEncoder
from turnwise.core.steps import run_steps

BINS = (10, 15)
NONE_SHARE = 0.2  # of the predicted messages


def main() -> None:
    """Fit, predict and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="CSV file with the columns text and label, may be compressed (.gz)")
    parser.add_argument("--test", type=Path, help="CSV file of messages to predict; default: the rest of TRAIN")
    parser.add_argument("--none", help="label of messages without an intent")
    parser.add_argument("--none-from", type=Path, help="CSV file whose messages have none of the intents")
    parser.add_argument("--none-except", nargs="*", default=(), metavar="DOMAIN", help="its domains to leave out")
    parser.add_argument("--examples", type=int, default=28, help="per intent; default: 28, as in customer_service")
    parser.add_argument("--messages", type=int, default=3000, help="to predict, at most")
    parser.add_argument("--embedding-model", help="default: words and characters")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    examples, rest = split(read_rows(options.train), options.examples, options.none, rng)
    unseen = rest if options.test is None else read_rows(options.test)
    with_intent = [row for row in unseen if row[1] != options.none]
    without = [row for row in unseen if row[1] == options.none]
    if options.none_from is not None:
        without += read_rows(options.none_from, options.none_except)
    with_intent = rng.sample(with_intent, min(len(with_intent), options.messages))
    num_none = min(len(without), round(len(with_intent) * NONE_SHARE / (1 - NONE_SHARE)))
    unseen = with_intent + rng.sample(without, num_none)
    encoder: TextEncoder = LexicalEncoder()
    if options.embedding_model is not None:
        encoder = EmbeddingEncoder(open_embedding_service(options.embedding_model))
    certainty_N, correct_N = asyncio.run(predict(encoder, examples, unseen))
    print(f"{len(examples):,} examples, {len(with_intent):,} messages with an intent and {num_none:,} without one")
    print(f"right: {correct_N[: len(with_intent)].mean():.1%} of those with an intent")
    for num_bins in BINS:
        error = expected_calibration_error(certainty_N, correct_N, num_bins)
        print(f"expected calibration error, {num_bins} bins: {error:.3f}")
    print_bins(certainty_N, correct_N)


def read_rows(path: Path, except_domains: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Texts and labels, without those whose column `domain` is in `except_domains`."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["text"], row["label"]) for row in rows if row.get("domain") not in except_domains]


def split(
    rows: Sequence[tuple[str, str]], num_examples: int, none: str | None, rng: random.Random
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Examples of every intent, and the other messages."""
    by_label = defaultdict(list)
    for text, label in rows:
        by_label[label].append((text, label))
    examples, rest = [], []
    for label, members in sorted(by_label.items()):
        count = 0 if label == none else num_examples
        members = rng.sample(members, len(members))
        examples += members[:count]
        rest += members[count:]
    return examples, rest


async def predict(
    encoder: TextEncoder, examples: Sequence[tuple[str, str]], unseen: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the first intent of every unseen message, and whether it is right."""
    texts, labels = zip(*examples, strict=True)
    encoder = await encoder.fit(texts)
    head, _ = run_steps(fit_intent_head(await encoder.encode(texts), labels, sorted(set(labels))))
    predictions = head.predict(await encoder.encode([text for text, _ in unseen]))
    certainty_N = np.array([prediction.best.probability for prediction in predictions])
    correct_N = np.array([p.best.intent == label for p, (_, label) in zip(predictions, unseen, strict=True)])
    return certainty_N, correct_N


def print_bins(certainty_N: np.ndarray, correct_N: np.ndarray) -> None:
    """Mean probability and share of right predictions in bins of a tenth."""
    print("\n| probability | messages | mean | right |\n| --- | --- | --- | --- |")
    for low in range(10):
        is_inside_N = np.minimum(certainty_N * 10, 9).astype(int) == low
        if is_inside_N.any():
            mean, right = certainty_N[is_inside_N].mean(), correct_N[is_inside_N].mean()
            print(f"| {low / 10:.1f} to {(low + 1) / 10:.1f} | {is_inside_N.sum()} | {mean:.2f} | {right:.2f} |")


if __name__ == "__main__":
    main()
