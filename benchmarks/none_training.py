"""Ways to train with texts of no label: one more class, outlier exposure, an energy margin, and none of them.

    python benchmarks/none_training.py TRAIN TEST [--none-label none] [--embedding-model minilm] [--threads 2]

TRAIN and TEST have texts with one label each (CSV, JSON lines, Parquet); those with the label NONE belong to none. A
linear layer on frozen embeddings is trained in each way, and scores are compared on TEST: area under the ROC curve, and
the shares of right and of wrong labels at a recall of none of 95 %. This threshold is read off TEST, so the shares are
for comparing the rows only.

Shapes: N texts, C dimension of the embeddings, K labels, L logits (K, and one for texts of no label).
"""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor
from torch.nn import functional as F

from out_of_scope import auroc, with_constant
from turnwise.app.embedding_services import open_embedding_service
from turnwise.core.embedding_service import EmbeddingRequest
from turnwise.data.annotations.annotated import LabeledText
from turnwise.data.annotations.source import AnnotationSource

FloatArray = NDArray[np.float64]
RECALL = 0.95  # of texts of no label
EXPOSURE_WEIGHT = 0.5  # of the uniform target (Hendrycks et al. 2019, section 4.2)
MARGIN_WEIGHT, MIN_ENERGY, MAX_NONE_ENERGY = 0.1, 8.0, 3.0  # Liu et al. 2020, equation 9; logits of 27 labels
NONE = -1  # target of texts of no label

Loss = Callable[[Tensor, Tensor], Tensor]
"""The loss of logits `(N, L)` and targets `(N)`."""


def labels_only(logits_NL: Tensor, targets_N: Tensor) -> Tensor:
    """Cross-entropy of the texts with a label; the others are not trained on."""
    has_label_N = targets_N != NONE
    return F.cross_entropy(logits_NL[has_label_N], targets_N[has_label_N])


def one_more_class(logits_NL: Tensor, targets_N: Tensor) -> Tensor:
    """Cross-entropy with the last logit as that of texts of no label."""
    return F.cross_entropy(logits_NL, torch.where(targets_N == NONE, logits_NL.shape[1] - 1, targets_N))


def outlier_exposure(logits_NL: Tensor, targets_N: Tensor) -> Tensor:
    """Cross-entropy, and that of a uniform distribution for texts of no label (Hendrycks et al. 2019)."""
    log_probabilities_NL = logits_NL[targets_N == NONE].log_softmax(dim=1)
    return labels_only(logits_NL, targets_N) - EXPOSURE_WEIGHT * log_probabilities_NL.mean()


def energy_margin(logits_NL: Tensor, targets_N: Tensor) -> Tensor:
    """Cross-entropy, and squared distances of the energies from two bounds (Liu et al. 2020)."""
    energy_N = logits_NL.logsumexp(dim=1)
    low_N = (MIN_ENERGY - energy_N[targets_N != NONE]).relu()
    high_N = (energy_N[targets_N == NONE] - MAX_NONE_ENERGY).relu()
    return labels_only(logits_NL, targets_N) + MARGIN_WEIGHT * (low_N.square().mean() + high_N.square().mean())


MECHANISMS: dict[str, tuple[Loss, bool]] = {  # the loss, and whether there is one more logit
    "labels only": (labels_only, False),
    "one more class": (one_more_class, True),
    "outlier exposure": (outlier_exposure, False),
    "energy margin": (energy_margin, False),
}


def train_linear(
    inputs_NC: FloatArray, targets_N: NDArray[np.int64], num_logits: int, loss: Loss, decay: float
) -> FloatArray:
    """Weights `(L, C)` of a linear layer, by L-BFGS with weight decay."""
    inputs, targets = torch.tensor(inputs_NC, dtype=torch.float32), torch.tensor(targets_N)
    weights_LC = torch.zeros(num_logits, inputs.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights_LC], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(inputs @ weights_LC.T, targets) + decay * weights_LC.square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    return weights_LC.detach().numpy().astype(np.float64)


def in_scope_scores(logits_NL: FloatArray, num_labels: int) -> dict[str, FloatArray]:
    """Scores that are low for texts of no label, by name."""
    energy_N = special.logsumexp(logits_NL[:, :num_labels], axis=1)
    scores = {
        "energy": energy_N,
        "largest probability": special.softmax(logits_NL, axis=1)[:, :num_labels].max(axis=1),
    }
    if logits_NL.shape[1] > num_labels:
        scores["energy less the logit of none"] = energy_N - logits_NL[:, -1]
    return scores


def read_texts(path: Path) -> tuple[list[str], list[str]]:
    """Texts and their labels."""
    rows = [row for row in AnnotationSource(path).read() if isinstance(row, LabeledText)]
    return [row.text for row in rows], [row.labels[0] for row in rows]


def main() -> None:
    """Train the linear layer in each way, and print a table of the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--none-label", default="none")
    parser.add_argument("--embedding-model", default="minilm")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--decay", type=float, default=1e-4, help="weight decay of the linear layer")
    arguments = parser.parse_args()
    service = open_embedding_service(arguments.embedding_model, threads=arguments.threads)
    (texts, labels), (test_texts, test_labels) = read_texts(arguments.train), read_texts(arguments.test)
    names = sorted({*labels} - {arguments.none_label})
    inputs_NC, test_NC = (
        with_constant(np.array(asyncio.run(service.embed(EmbeddingRequest(items, truncate_prompt_tokens=-1))).vectors))
        for items in (texts, test_texts)
    )
    number_of = {arguments.none_label: NONE} | {name: number for number, name in enumerate(names)}
    targets_N, test_N = (np.array([number_of[label] for label in items]) for items in (labels, test_labels))
    has_label_N = test_N != NONE
    print(f"{len(texts):,} training texts, {(targets_N == NONE).sum():,} of no label; {len(names)} labels")
    print("| training | score | AUROC | right | wrong |\n| --- | --- | --- | --- | --- |")
    for mechanism, (loss, has_none_logit) in MECHANISMS.items():
        weights_LC = train_linear(inputs_NC, targets_N, len(names) + has_none_logit, loss, arguments.decay)
        logits_NL = test_NC @ weights_LC.T
        is_right_N = (logits_NL[:, : len(names)].argmax(axis=1) == test_N)[has_label_N]
        for score, values_N in in_scope_scores(logits_NL, len(names)).items():
            threshold = np.quantile(values_N[~has_label_N], RECALL, method="higher")
            is_refused_N = values_N[has_label_N] <= threshold
            right, wrong = (is_right_N & ~is_refused_N).mean(), (~is_right_N & ~is_refused_N).mean()
            area = auroc(values_N[has_label_N], values_N[~has_label_N])
            print(f"| {mechanism} | {score} | {area:.3f} | {right:.1%} | {wrong:.1%} |")


if __name__ == "__main__":
    main()
