"""What a classifier predicts: `classifier.json` in its model folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from turnwise.core.classification import ClassifierTask
from turnwise.core.errors import UserError
from turnwise.core.files import atomic_write
from turnwise.core.json_file import JsonFileModel, read_json_object, read_optional_json_object, validate_fields
from turnwise.core.tag_schemes import split_tag

CLASSIFIER_CONFIG_FILE = "classifier.json"
CLASSIFIER_WEIGHTS_FILE = "classifier.safetensors"
WORDS_FILE = "word_vectors.txt"  # the words that have a vector, one per line
MAX_LABELS = 100_000
MAX_CRF_LABELS = 1000

TextPooling = Literal["mean", "first", "last"]
ThresholdScore = Literal["probability", "energy"]


@dataclass(frozen=True, slots=True)
class ClassifierConfig:
    """What a classifier predicts, and how.

    Attributes:
        task: labels of tokens or of whole texts.
        labels: names of the labels, in the order of the logits.
        none_label: label of the training texts that belong to none of the labels; the last logit is theirs. It is never
            predicted: such a text has no label. None: the classifier was trained without such texts.
        is_multi_label: a text has any number of labels, each with a probability of its own.
        pooling: how the hidden states of a text become one vector: their mean, the first or the last one.
        has_crf: a CRF scores sequences of tags (`linear_chain_crf.py`).
        context_words: words of the document around a sentence that the model was trained to see.
        window_words: words of neighbouring sentences that the model was trained to tag together; 0: one sentence.
        has_word_features: characters and shape of words are further inputs of the head (`core/word_features.py`).
        has_sparse_features: hashed features of words and of their neighbours add to the logits
            (`sparse_word_features.py`).
        num_word_vectors, word_vector_size: shape of the table of word vectors; zeros without one.
        lstm_size: size of a bidirectional LSTM over the words of a sentence, per direction; 0: none.
        max_tokens: maximum number of tokens that the model was trained on; None: its context length.
        temperature: the logits are divided by it; calibrated on held-out data.
        threshold: a text with a lower score belongs to none of the labels; None: every text has a label, except those
            for which the logit of `none_label` is the highest.
        threshold_score: the score, see `classifier_outputs.in_scope_scores`.
    """

    task: ClassifierTask
    labels: tuple[str, ...]
    none_label: str | None = None
    is_multi_label: bool = False
    pooling: TextPooling = "mean"
    has_crf: bool = False
    context_words: int = 0
    window_words: int = 0
    has_word_features: bool = False
    has_sparse_features: bool = False
    num_word_vectors: int = 0
    word_vector_size: int = 0
    lstm_size: int = 0
    max_tokens: int | None = None
    temperature: float = 1.0
    threshold: float | None = None
    threshold_score: ThresholdScore = "probability"

    @property
    def encodes_words(self) -> bool:
        """True if the head reads the characters of the words, not only hidden states."""
        return self.has_word_features or self.has_sparse_features

    @property
    def num_logits(self) -> int:
        """Number of the labels, and one for texts of none of them if there is a `none_label`."""
        return len(self.labels) + (self.none_label is not None)

    def save(self, folder: Path) -> None:
        """Write the file into a new folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / CLASSIFIER_CONFIG_FILE).write_text(text + "\n", encoding="utf-8")

    def can_follow(self, previous: str, tag: str) -> bool:
        """True if the scheme IOB2 allows `tag` after `previous`; every tag may follow if the labels are plain."""
        prefix, label = split_tag(tag)
        return prefix != "I" or split_tag(previous)[1] == label

    def can_start(self, tag: str) -> bool:
        """True if the scheme IOB2 allows `tag` at the start of a sentence."""
        return split_tag(tag)[0] != "I"


class _ClassifierFields(JsonFileModel):
    task: ClassifierTask = Field(description="'token_classification' or 'sequence_classification'")
    labels: Annotated[list[str], Field(min_length=1, max_length=MAX_LABELS)] = Field(description="a list of names")
    none_label: str | None = Field(None, description="a name")
    is_multi_label: bool = Field(False, description="true or false")
    pooling: TextPooling = Field("mean", description="'mean', 'first' or 'last'")
    has_crf: bool = Field(False, description="true or false")
    context_words: Annotated[int, Field(ge=0)] = Field(0, description="a whole number from 0 on")
    window_words: Annotated[int, Field(ge=0)] = Field(0, description="a whole number from 0 on")
    has_word_features: bool = Field(False, description="true or false")
    has_sparse_features: bool = Field(False, description="true or false")
    num_word_vectors: Annotated[int, Field(ge=0, le=10_000_000)] = Field(0, description="a whole number from 0 on")
    word_vector_size: Annotated[int, Field(ge=0, le=1024)] = Field(0, description="a whole number from 0 to 1024")
    lstm_size: Annotated[int, Field(ge=0, le=8192)] = Field(0, description="a whole number from 0 to 8192")
    max_tokens: Annotated[int, Field(ge=4)] | None = Field(None, description="a whole number from 4 on")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="a number above 0")
    threshold: float | None = Field(None, description="a number")
    threshold_score: ThresholdScore = Field("probability", description="'probability' or 'energy'")


def write_calibration(folder: Path, config: ClassifierConfig) -> None:
    """Replace temperature and threshold in the file of a classifier; other fields stay as they are.

    Raises:
        UserError: the file is missing or damaged.
        SaveFailed: the file cannot be written; it is unchanged.
    """
    path = folder / CLASSIFIER_CONFIG_FILE
    values = read_json_object(path)
    values |= {name: getattr(config, name) for name in ("temperature", "threshold", "threshold_score")}
    atomic_write(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_words(folder: Path, config: ClassifierConfig) -> tuple[str, ...]:
    """The words that have a vector. Raises `UserError` if the file is missing or damaged."""
    if not config.num_word_vectors:
        return ()
    path = folder / WORDS_FILE
    try:
        words = tuple(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The words of the classifier cannot be read: {error}") from error
    if len(words) + 1 != config.num_word_vectors:
        raise UserError(f"{path} has {len(words):,} words, and the classifier {config.num_word_vectors - 1:,}.")
    return words


def is_classifier(folder: Path) -> bool:
    """True if the folder holds a classifier."""
    return (folder / CLASSIFIER_CONFIG_FILE).is_file()


def read_classifier_config(folder: Path) -> ClassifierConfig:
    """Read the file of a classifier. Raises `UserError` if it is missing or damaged."""
    path = folder / CLASSIFIER_CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no classifier: {CLASSIFIER_CONFIG_FILE} is missing.")
    values: dict[str, Any] = read_optional_json_object(path)
    validate_fields(_ClassifierFields, values, str(path))
    settings = {name: value for name, value in values.items() if name in ClassifierConfig.__slots__}
    if values.get("has_crf") and len(values["labels"]) > MAX_CRF_LABELS:
        raise UserError(f"{path}: a CRF has at most {MAX_CRF_LABELS:,} labels.")
    if bool(values.get("num_word_vectors")) > bool(values.get("has_word_features")):
        raise UserError(f"{path}: word vectors need word features.")
    if len(set(values["labels"])) < len(values["labels"]):
        raise UserError(f"{path}: two labels have the same name.")
    _check_none_label(values, path)
    return ClassifierConfig(**{**settings, "labels": tuple(values["labels"])})


def _check_none_label(values: Mapping[str, Any], path: Path) -> None:
    """Raise `UserError` if the classifier cannot have a label for texts of none of its labels."""
    none_label = values.get("none_label")
    if none_label is None:
        return
    if values["task"] != "sequence_classification" or values.get("is_multi_label"):
        raise UserError(f"{path}: only a classifier that predicts one label of a text has a 'none_label'.")
    if none_label in values["labels"]:
        raise UserError(f"{path}: '{none_label}' is both a label and the 'none_label'.")
