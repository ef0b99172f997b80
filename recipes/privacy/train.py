"""Train the tagger of names and addresses, and write it to a folder.

    python recipes/privacy/train.py src/turnwise/bundled/personal-names --plain FILE... --count 60000

The templates are split: a tenth of them is held out, is printed after every epoch and for several bonuses as
precision, recall and F1 of complete spans. `--plain` are files with texts without personal data.
"""

import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from safetensors.numpy import save
from torch import nn
from training_texts import Labelled, Vocabulary, generate, read_plain_texts, read_templates
from word_lists import latin_names

from turnwise.core.files import atomic_write
from turnwise.models.linear_chain_crf import LinearChainCrf
from turnwise.privacy.name_tagger import NameTagger, TaggerFile, tags_of_spans
from turnwise.privacy.tagger_features import WordLists, feature_names, tokenize, word_hash

TAGS = ["O", "B-NAME", "I-NAME", "B-ADDRESS", "I-ADDRESS"]
LANGUAGES = ("en_personal", "en_plain", "zh_personal", "zh_plain")
BUCKETS = 1 << 18
BATCH = 64
UNLISTED = 0.25  # share of names that the training does not find in the lists
COMMON = 15  # occurrences of a common word in the plain texts
HIDDEN = 0.3  # share of tokens in spans whose word is hidden, so that shapes and context count
WORD_FEATURES = ("w", "-w", "w+", "p", "e", "3")
BONUSES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


class Features:
    """Hashed features of a labelled text for training."""

    def __init__(self, rng: random.Random, plain: list[Labelled]) -> None:
        first, last = latin_names()
        counts = Counter(word for text, _ in plain for word in re.findall(r"[a-z]+", text))
        self.rng = rng
        self.first = frozenset(map(word_hash, first))
        self.last = frozenset(map(word_hash, last))
        self.common = frozenset(word_hash(word) for word, count in counts.items() if count >= COMMON)

    def encode(self, labelled: Labelled, *, is_training: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Buckets of all tokens, where each token starts in them, and tag numbers."""
        text, spans = labelled
        tokens = tokenize(text)
        words = [token.text for token in tokens]
        tags = tags_of_spans(tokens, spans)
        first, last = self.first, self.last
        if is_training and self.rng.random() < UNLISTED:
            hidden = {word_hash(word) for word, tag in zip(words, tags, strict=True) if tag != "O"}
            first, last = first - hidden if hidden & first else first, last - hidden if hidden & last else last
        rows = []
        for names, tag in zip(feature_names(words, WordLists(first, last, self.common)), tags, strict=True):
            if is_training and tag != "O" and self.rng.random() < HIDDEN:
                names = [name for name in names if not name.startswith(WORD_FEATURES)]
            rows.append([crc32(name.encode()) % BUCKETS for name in names])
        starts = np.cumsum([0, *(len(row) for row in rows[:-1])]).astype(np.int32)
        flat = np.fromiter((bucket for row in rows for bucket in row), dtype=np.int32)
        return flat, starts, np.array([TAGS.index(tag) for tag in tags], dtype=np.int64)


def split_templates(rng: random.Random) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Templates to train on, and a tenth of each file that is held out."""
    train, held_out = {}, {}
    for name in LANGUAGES:
        templates = read_templates(name)
        rng.shuffle(templates)
        count = len(templates) // 10
        held_out[name], train[name] = templates[:count], templates[count:]
    return train, held_out


def new_crf() -> LinearChainCrf:
    """A CRF with the transitions of IOB2."""
    can_follow_KK = torch.tensor(
        [[not after.startswith("I") or before[2:] == after[2:] for after in TAGS] for before in TAGS]
    )
    return LinearChainCrf(can_follow_KK, torch.tensor([not tag.startswith("I") for tag in TAGS]))


def batches(rows: list, rng: random.Random):
    """Batches of texts of about the same length."""
    order = sorted(range(len(rows)), key=lambda index: (len(rows[index][2]), rng.random()))
    groups = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    rng.shuffle(groups)
    for group in groups:
        yield [rows[index] for index in group]


def emissions(
    weight: nn.EmbeddingBag, batch: list, dropout: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, tags and mask of a batch, padded."""
    lengths = [len(row[2]) for row in batch]
    offsets, position = [], 0
    for flat, starts, _ in batch:
        offsets.append(starts.astype(np.int64) + position)
        position += len(flat)
    flat = torch.from_numpy(np.concatenate([row[0] for row in batch]).astype(np.int64))
    kept = (torch.rand(len(flat)) >= dropout).float() / (1 - dropout)
    scores = weight(flat, torch.from_numpy(np.concatenate(offsets)), per_sample_weights=kept)
    padded = nn.utils.rnn.pad_sequence(scores.split(lengths), batch_first=True)
    tags = nn.utils.rnn.pad_sequence([torch.from_numpy(row[2]) for row in batch], batch_first=True)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return padded, tags, mask


def train_epoch(
    weight: nn.EmbeddingBag, crf: LinearChainCrf, rows: list, optimizers: list, rng: random.Random, dropout: float
) -> float:
    """One pass over the rows; returns the mean loss per text."""
    total = 0.0
    for batch in batches(rows, rng):
        loss = crf.negative_log_likelihood(*emissions(weight, batch, dropout)).sum()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        total += float(loss.detach())
    return total / len(rows)


def tensors_of(weight: nn.EmbeddingBag, crf: LinearChainCrf, features: Features) -> dict[str, np.ndarray]:
    """The tensors of the file."""
    values = weight.weight.detach().numpy()
    limit = np.quantile(np.abs(values[values != 0]), 0.9999)
    scale = limit / 127
    return {
        "weight": np.clip(np.rint(values / scale), -127, 127).astype(np.int8),
        "scale": np.array(scale, dtype=np.float32),
        "transition": (crf.transition_KK + crf.penalty_KK).detach().numpy(),
        "start": (crf.start_K + crf.start_penalty_K).detach().numpy(),
        "end": crf.end_K.detach().numpy(),
        "first_names": np.array(sorted(features.first), dtype=np.uint32),
        "common_words": np.array(sorted(features.common), dtype=np.uint32),
        "last_names": np.array(sorted(features.last), dtype=np.uint32),
    }


def score(tagger: NameTagger, texts: list[Labelled]) -> dict[str, tuple[float, float, float]]:
    """Precision, recall and F1 of complete spans by kind."""
    results = {}
    for kind in ("name", "address"):
        hits = predicted = gold = 0
        for text, spans in texts:
            expected = {span for span in spans if span.kind == kind}
            actual = {span for span in tagger.detect(text) if span.kind == kind}
            hits, predicted, gold = hits + len(expected & actual), predicted + len(actual), gold + len(expected)
        precision, recall = hits / max(1, predicted), hits / max(1, gold)
        results[kind] = precision, recall, 2 * precision * recall / max(1e-9, precision + recall)
    return results


def main() -> None:
    """Generate, train, print the effect of a bonus and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--plain", type=Path, nargs="*", default=[])
    parser.add_argument("--plain-limit", type=int, default=4000, help="texts of each file")
    parser.add_argument("--count", type=int, default=60_000, help="generated texts")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--dropout", type=float, default=0.5, help="share of the features that are hidden")
    parser.add_argument("--replaced", type=float, default=0.1, help="share of the words around spans that are replaced")
    parser.add_argument("--bonus", type=float, default=0.0, help="for the start of a span")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    torch.manual_seed(options.seed)
    train_templates, held_out_templates = split_templates(rng)
    plain = [row for path in options.plain for row in read_plain_texts(path, options.plain_limit, rng)]
    features = Features(rng, plain)
    vocabulary = Vocabulary([text for text, _ in plain], rng)
    texts = [vocabulary.replace(row, options.replaced) for row in generate(options.count, train_templates, rng)] + plain
    held_out = list(generate(2000, held_out_templates, random.Random(options.seed + 1)))
    rows = [features.encode(labelled, is_training=True) for labelled in texts if labelled[0].strip()]
    print(f"{len(rows):,} texts, {sum(len(row[2]) for row in rows):,} tokens", flush=True)
    weight = nn.EmbeddingBag(BUCKETS, len(TAGS), mode="sum", sparse=True)
    nn.init.zeros_(weight.weight)
    crf = new_crf()
    # Without adaptive rates, rare features stay small; an adaptive optimizer learned the templates by heart.
    optimizers = [
        torch.optim.SGD(weight.parameters(), lr=options.rate),
        torch.optim.SGD(crf.parameters(), lr=options.rate / 10),
    ]
    for epoch in range(options.epochs):
        for optimizer, rate in zip(optimizers, (options.rate, options.rate / 10), strict=True):
            optimizer.param_groups[0]["lr"] = rate * (1 - epoch / options.epochs)
        loss = train_epoch(weight, crf, rows, optimizers, rng, options.dropout)
        tagger = NameTagger(TaggerFile(tags=TAGS, begin_bonus=0.0), tensors_of(weight, crf, features))
        print(f"epoch {epoch + 1}: loss {loss:.4f}, held out {score(tagger, held_out)}", flush=True)
    tensors = tensors_of(weight, crf, features)
    by_bonus = {
        bonus: score(NameTagger(TaggerFile(tags=TAGS, begin_bonus=bonus), tensors), held_out) for bonus in BONUSES
    }
    for bonus, scores in by_bonus.items():
        print(f"bonus {bonus}: {scores}")
    settings = {"tags": TAGS, "begin_bonus": options.bonus}
    atomic_write(options.out / "tagger.json", json.dumps(settings, indent=2) + "\n")
    atomic_write(options.out / "tagger.safetensors", save(tensors))


if __name__ == "__main__":
    main()
