"""Fitted intent classifiers as safetensors files: head, vectors of the examples and held-out predictions."""

import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from turnwise.chat.service_path.intent_classifier import IntentHead
from turnwise.chat.service_path.intent_training import HeldOutScores
from turnwise.chat.service_path.logistic_head import Floats, LogisticHead
from turnwise.core.files import atomic_write

log = logging.getLogger("turnwise.chat")


def write_classifier(path: Path, head: IntentHead, scores: HeldOutScores, fitted_D: Floats) -> None:
    """Write a classifier. `fitted_D` is what the encoder has fitted. Raises `SaveFailed`."""
    arrays: dict[str, NDArray[np.generic]] = {
        "weights": head.head.weights_DC,
        "temperature": np.array([head.temperature]),
        "certainty": head.certainty_4,
        "examples": head.examples_ND,
        "classes": head.classes_N,
        "encoder": fitted_D,
        "held_out_certainty": scores.certainty_N,
        "held_out_correct": scores.correct_N,
        "held_out_weights": scores.weights_N,
    }
    metadata = {"intents": json.dumps(head.intents), "num_examples": str(scores.num_examples)}
    atomic_write(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))


def read_classifier(path: Path) -> tuple[IntentHead, HeldOutScores, Floats] | None:
    """Read the result of `write_classifier`; None if there is no such file, or if it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        intents = tuple(str(name) for name in json.loads(metadata["intents"]))
        head = IntentHead(
            intents, LogisticHead(arrays["weights"]), float(arrays["temperature"][0]), arrays["certainty"],
            arrays["examples"], arrays["classes"],
        )  # fmt: skip
        scores = HeldOutScores(
            arrays["held_out_certainty"], arrays["held_out_correct"], arrays["held_out_weights"],
            int(metadata["num_examples"]),
        )  # fmt: skip
        _check_shapes(head, scores)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        log.warning("The cached intents in %s are damaged and are fitted again: %s", path, error)
        return None
    return head, scores, arrays["encoder"]


def _check_shapes(head: IntentHead, scores: HeldOutScores) -> None:
    """Raise `ValueError` if the parts do not fit together."""
    (num_examples, dimension), num_intents = head.examples_ND.shape, len(head.intents)
    is_right = (
        head.head.weights_DC.shape == (dimension + 1, num_intents)
        and head.certainty_4.shape == (4,)
        and head.classes_N.shape == (num_examples,)
        and 0 <= head.classes_N.min() <= head.classes_N.max() < num_intents
        and scores.certainty_N.shape == scores.correct_N.shape == scores.weights_N.shape
        and bool(np.isfinite(head.head.weights_DC).all())
    )
    if not is_right:
        raise ValueError("the arrays do not fit together")
