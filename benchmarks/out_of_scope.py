"""Scores that tell texts of no class from those of a class: probability, energy, distance to the nearest class mean.

    python benchmarks/out_of_scope.py DATA/clinc150 [--embedding-model minilm] [--threads 2]

DATA/clinc150 has train.csv.gz and valid.csv.gz (columns text, label); texts with the label "oos" are out of scope. A
linear layer on frozen embeddings is trained on the other training texts. A random half of the validation texts gives
temperature and threshold, the other half the share of false alarms; means over `NUM_SPLITS` halvings.

Shapes: N texts, K classes, C dimension of the embeddings.
"""

import argparse
import asyncio
import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from scipy.stats import rankdata

from turnwise.app.embedding_services import open_embedding_service
from turnwise.core.embedding_service import EmbeddingRequest
from turnwise.evaluation.classification.calibration import (
    expected_calibration_error,
    fit_temperature,
    out_of_scope_threshold,
)

FloatArray = NDArray[np.float64]
OUT_OF_SCOPE = "oos"
NUM_SPLITS = 20
FALSE_ALARMS = (0.01, 0.02, 0.05)


def read_texts(path: Path) -> tuple[list[str], list[str]]:
    """Texts and their labels."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def train_linear(vectors_NC: FloatArray, targets_N: NDArray[np.int64], num_classes: int, decay: float) -> torch.Tensor:
    """Weights `(K, C + 1)` of a linear layer, by L-BFGS on the mean cross-entropy with weight decay."""
    inputs_NC = torch.tensor(with_constant(vectors_NC))
    targets = torch.tensor(targets_N)
    weights_KC = torch.zeros(num_classes, inputs_NC.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights_KC], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(inputs_NC @ weights_KC.T, targets) + decay * weights_KC.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights_KC.detach()


def with_constant(vectors_NC: FloatArray) -> FloatArray:
    """Vectors with a variance of about 1 and a column of ones."""
    return np.concatenate([vectors_NC * vectors_NC.shape[1] ** 0.5, np.ones((len(vectors_NC), 1))], axis=1)


def mahalanobis(
    vectors_NC: FloatArray, targets_N: NDArray[np.int64], num_classes: int
) -> Callable[[FloatArray], FloatArray]:
    """Minus the squared distance to the nearest class mean, with one covariance for all classes (Lee et al. 2018)."""
    means_KC = np.stack([vectors_NC[targets_N == number].mean(axis=0) for number in range(num_classes)])
    centered_NC = vectors_NC - means_KC[targets_N]
    precision_CC = np.linalg.inv(centered_NC.T @ centered_NC / len(vectors_NC) + 1e-6 * np.eye(vectors_NC.shape[1]))

    def score(queries_NC: FloatArray) -> FloatArray:
        projected_NC, projected_KC = queries_NC @ precision_CC, means_KC @ precision_CC
        squares_NK = (
            (projected_NC * queries_NC).sum(axis=1)[:, None]
            - 2 * projected_NC @ means_KC.T
            + (projected_KC * means_KC).sum(axis=1)
        )
        result: FloatArray = -squares_NK.min(axis=1)
        return result

    return score


def auroc(in_scope_N: FloatArray, out_of_scope_N: FloatArray) -> float:
    """Probability that a text of a class has a higher score than one of none."""
    ranks = rankdata(np.concatenate([in_scope_N, out_of_scope_N]))[: len(in_scope_N)]
    return float((ranks.sum() - len(ranks) * (len(ranks) + 1) / 2) / (len(in_scope_N) * len(out_of_scope_N)))


def main() -> None:
    """Train the linear layer, and print a table of the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedding-model", default="minilm")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--decay", type=float, default=1e-5, help="weight decay of the linear layer")
    arguments = parser.parse_args()
    service = open_embedding_service(arguments.embedding_model, threads=arguments.threads)

    def embed(texts: list[str]) -> FloatArray:
        return np.array(asyncio.run(service.embed(EmbeddingRequest(texts, truncate_prompt_tokens=-1))).vectors)

    texts, labels = read_texts(arguments.data / "train.csv.gz")
    valid_texts, valid_labels = read_texts(arguments.data / "valid.csv.gz")
    pairs = [*zip(texts, labels, strict=True)], [*zip(valid_texts, valid_labels, strict=True)]
    oos_NC = embed([text for split in pairs for text, label in split if label == OUT_OF_SCOPE])
    names = sorted({*labels} - {OUT_OF_SCOPE})
    train, valid = ([(text, names.index(label)) for text, label in split if label != OUT_OF_SCOPE] for split in pairs)
    train_NC, train_N = embed([text for text, _ in train]), np.array([number for _, number in train])
    valid_NC, valid_N = embed([text for text, _ in valid]), np.array([number for _, number in valid])
    weights_KC = train_linear(train_NC, train_N, len(names), arguments.decay).numpy()
    valid_NK, oos_NK = (with_constant(vectors_NC) @ weights_KC.T for vectors_NC in (valid_NC, oos_NC))
    distance = mahalanobis(train_NC, train_N, len(names))
    temperature = fit_temperature(valid_NK, valid_N)
    is_right_N = valid_NK.argmax(axis=1) == valid_N
    before, after = (
        expected_calibration_error(special.softmax(valid_NK / divisor, axis=1).max(axis=1), is_right_N)
        for divisor in (1.0, temperature)
    )
    print(f"{len(train):,} training, {len(valid):,} validation texts, {len(oos_NC)} out of scope, {len(names)} classes")
    print(f"accuracy {is_right_N.mean():.3f}, temperature {temperature:.2f}, "
          f"ECE {before:.3f} -> {after:.3f}")  # fmt: skip
    scores = {
        "probability, T = 1": lambda logits, _: special.softmax(logits, axis=1).max(axis=1),
        "probability": lambda logits, _: special.softmax(logits / temperature, axis=1).max(axis=1),
        "largest logit": lambda logits, _: logits.max(axis=1),
        "energy, T = 1": lambda logits, _: special.logsumexp(logits, axis=1),
        "energy": lambda logits, _: special.logsumexp(logits / temperature, axis=1),
        "Mahalanobis distance": lambda _, vectors: distance(vectors),
    }
    print(f"{'score':22} AUROC" + "".join(f"   recall at {share:.0%} (false alarms)" for share in FALSE_ALARMS))
    for name, score in scores.items():
        in_scope_N, out_N = score(valid_NK, valid_NC), score(oos_NK, oos_NC)
        cells = [f"{auroc(in_scope_N, out_N):.3f}"]
        for share in FALSE_ALARMS:
            results = []
            for seed in range(NUM_SPLITS):
                order = np.random.default_rng(seed).permutation(len(in_scope_N))
                fit, held_out = np.array_split(order, 2)
                threshold = out_of_scope_threshold(in_scope_N[fit], share)
                results.append(((out_N < threshold).mean(), (in_scope_N[held_out] < threshold).mean()))
            recall, false_alarms = np.mean(results, axis=0)
            cells.append(f"{recall:13.3f} ({false_alarms:.3f})        ")
        print(f"{name:22} {' '.join(cells)}")


if __name__ == "__main__":
    main()
