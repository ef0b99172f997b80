"""A classifier that recognises emergencies which no phrase describes: a linear layer on hashed features of the message.

If an embedding model is served, a second linear layer on its vectors takes part, and the logits are averaged. A second
head of each layer tells the kind of the emergency. Folder of a classifier, trained by `recipes/emergencies/train.py`:

- `classifier.json`: kinds, calibration and thresholds (see `ClassifierFile`)
- `classifier.safetensors`: the weights, and the vectors of the probe texts, which tell whether an embedding model is
  the one that the second layer was trained on

Shapes: W windows of a message, B buckets, D dimensions of vectors, K kinds.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load as load_tensors
from scipy.special import expit, logit, softmax

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.json_file import JsonFileModel, read_bytes, read_json_object, validate_fields
from turnwise.scenarios.message_features import message_buckets

Floats = NDArray[np.float64]
Script = Literal["latin", "chinese"]
SCRIPTS: tuple[Script, ...] = ("latin", "chinese")
MAX_WINDOW_CHARS = 200
MAX_WINDOWS = 8
MIN_PROBE_SIMILARITY = 0.95  # cosine; quantized weights of the same model stay above
_CHINESE = re.compile("[\u4e00-\u9fff]")
_SENTENCE = re.compile(r"[^.!?。！？\n]*[.!?。！？\n]*")
CLASSIFIERS = {"emergencies": "bundled/emergencies"}  # folder in the package by name


class Calibration(JsonFileModel):
    """Turns a logit into a probability: `sigmoid(slope * logit + intercept)` (Platt 1999), with a threshold."""

    slope: float = Field(gt=0, description="a positive number")
    intercept: float = Field(description="a number")
    threshold: float = Field(gt=0, lt=1, description="a number between 0 and 1")


class ClassifierFile(JsonFileModel):
    """Content of `classifier.json`.

    Attributes:
        kinds: kinds of emergencies, in the order of the heads.
        lexical, combined: calibration without and with an embedding model, by script.
        kind_threshold: probability of a kind from which on it is certain.
        probes: texts whose vectors tell the embedding model.
    """

    kinds: list[str] = Field(min_length=1, description="a list of names")
    lexical: dict[Script, Calibration] = Field(
        min_length=2, description="slope, intercept and threshold of each script"
    )
    combined: dict[Script, Calibration] = Field(
        min_length=2, description="slope, intercept and threshold of each script"
    )
    kind_threshold: float = Field(ge=0, le=1, description="a number between 0 and 1")
    probes: list[str] = Field(min_length=1, description="a list of texts")


@dataclass(frozen=True, slots=True)
class EmergencyPrediction:
    """What the classifier tells of a message.

    Attributes:
        probability: probability of an emergency among messages like the training messages.
        threshold: the probability from which on the message counts as one.
        kind: likeliest kind; None if no kind is certain.
    """

    probability: float
    threshold: float
    kind: str | None

    @property
    def is_emergency(self) -> bool:
        """True from the threshold on."""
        return self.probability >= self.threshold


class MessageClassifier:
    """A loaded classifier."""

    def __init__(self, settings: ClassifierFile, tensors: dict[str, NDArray[np.generic]]) -> None:
        """Use the content of the two files."""
        self._settings = settings
        widen = {name: np.asarray(tensor, dtype=np.float64) for name, tensor in tensors.items()}
        self._buckets_BC = widen["lexical.weight"] * widen["lexical.scale"]  # C: emergency, then K kinds
        self._bucket_bias_C = widen["lexical.bias"]
        self._mean_D, self._vectors_DC = widen["embedding.mean"], widen["embedding.weight"]
        self._vector_bias_C = widen["embedding.bias"]
        self._probe_vectors_PD = widen["probes"]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of emergencies."""
        return tuple(self._settings.kinds)

    @property
    def probes(self) -> tuple[str, ...]:
        """Texts to embed for `accepts_vectors`."""
        return tuple(self._settings.probes)

    def accepts_vectors(self, probe_vectors: Floats) -> bool:
        """True if these vectors of the probes, of length 1, are those of the embedding model that was trained on."""
        if probe_vectors.shape != self._probe_vectors_PD.shape:
            return False
        similarities = (probe_vectors * self._probe_vectors_PD).sum(axis=1)
        return bool(similarities.min() >= MIN_PROBE_SIMILARITY)

    def predict(self, windows: Sequence[str], vectors_WD: Floats | None = None) -> EmergencyPrediction:
        """Classify a message by the window that is most likely an emergency.

        Args:
            windows: windows of the message, see `message_windows`.
            vectors_WD: vectors of the windows by the embedding model, of length 1; None without one.
        """
        by_script = self._settings.lexical if vectors_WD is None else self._settings.combined
        predictions = [
            self._predict_window(by_script[script_of(window)], logits_C)
            for window, logits_C in zip(windows, self._logits(windows, vectors_WD), strict=True)
        ]
        # Thresholds differ by script, so windows are compared by their distance from it.
        return max(
            predictions,
            key=lambda prediction: logit(prediction.probability) - logit(prediction.threshold),
            default=EmergencyPrediction(0.0, by_script["latin"].threshold, None),
        )

    def _logits(self, windows: Sequence[str], vectors_WD: Floats | None) -> Iterator[Floats]:
        """Logits of shape (C) per window: of an emergency the mean of the layers, of the kinds their sum."""
        for index, window in enumerate(windows):
            logits_C = self._lexical_logits(window)
            if vectors_WD is not None:
                logits_C = logits_C + self._embedding_logits(vectors_WD[index : index + 1])[0]
                logits_C[0] /= 2
            yield logits_C

    def _predict_window(self, calibration: Calibration, logits_C: Floats) -> EmergencyPrediction:
        probability = float(expit(calibration.slope * logits_C[0] + calibration.intercept))
        kinds_K = softmax(logits_C[1:])
        best = int(kinds_K.argmax())
        is_certain = kinds_K[best] >= self._settings.kind_threshold
        return EmergencyPrediction(probability, calibration.threshold, self.kinds[best] if is_certain else None)

    def _lexical_logits(self, text: str) -> Floats:
        buckets = message_buckets(text)
        return np.asarray(self._buckets_BC[buckets].sum(axis=0) / np.sqrt(max(1, len(buckets))) + self._bucket_bias_C)

    def _embedding_logits(self, vectors_WD: Floats) -> Floats:
        return np.asarray(centre(vectors_WD, self._mean_D) @ self._vectors_DC + self._vector_bias_C)


def centre(vectors_ND: Floats, mean_D: Floats) -> Floats:
    """The vectors less a mean, of length 1 again."""
    centred_ND = vectors_ND - mean_D
    return np.asarray(centred_ND / np.maximum(np.linalg.norm(centred_ND, axis=1, keepdims=True), 1e-12))


def script_of(text: str) -> Script:
    """`chinese` for a text with a Chinese character, else `latin`."""
    return "chinese" if _CHINESE.search(text) else "latin"


def message_windows(text: str) -> list[str]:
    """Parts of a message of about `MAX_WINDOW_CHARS`, at ends of sentences, so that an emergency in a long one counts.

    Of more than `MAX_WINDOWS` parts, the first ones and as many of the last ones.
    """
    windows = list(_windows(text))
    if len(windows) > MAX_WINDOWS:
        half = MAX_WINDOWS // 2
        windows = [*windows[:half], *windows[-half:]]
    return windows


def _windows(text: str) -> Iterator[str]:
    window = ""
    for sentence in _SENTENCE.findall(text):
        if window and len(window) + len(sentence) > MAX_WINDOW_CHARS:
            yield window
            window = ""
        window += sentence
        while len(window) > 2 * MAX_WINDOW_CHARS:
            yield window[:MAX_WINDOW_CHARS]
            window = window[MAX_WINDOW_CHARS:]
    if window.strip():
        yield window


def check_classifier_name(name: str) -> str:
    """`name`, if there is such a classifier. Raises `InvalidParameter`."""
    if name not in CLASSIFIERS:
        raise InvalidParameter("classifier", f"there is no classifier '{name}'; {did_you_mean(name, CLASSIFIERS)}")
    return name


@cache
def load_classifier(name: str) -> MessageClassifier:
    """The classifier of a name, loaded once. Raises `InvalidParameter` for an unknown name."""
    return read_classifier(Path(str(resources.files("turnwise").joinpath(CLASSIFIERS[check_classifier_name(name)]))))


def read_classifier(folder: Path) -> MessageClassifier:
    """Read a classifier from its folder. Raises `UserError` if a file is missing or invalid."""
    path = folder / "classifier.json"
    fields = read_json_object(path)
    validate_fields(ClassifierFile, fields, str(path))
    tensors = load_tensors(read_bytes(folder / "classifier.safetensors"))
    return MessageClassifier(ClassifierFile.model_validate(fields), tensors)
