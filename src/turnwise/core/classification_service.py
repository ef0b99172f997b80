"""The classification service port: a model that labels texts, or words of texts, for the server and other callers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from turnwise.core.classification import ClassifierTask, TaggedText, TextLabels
from turnwise.core.steps import Steps


@dataclass(frozen=True, slots=True)
class ClassificationRequest:
    """Texts to classify.

    Attributes:
        inputs: the texts.
        top_k: number of scores of a text, the highest first; None: all.
        threshold: probability from which a label is predicted; None: the classifier's own.
        tenant: whose request it is; tenants are served in rotation.
    """

    inputs: Sequence[str]
    top_k: int | None = None
    threshold: float | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class ClassificationResult:
    """The labels of every text, in order.

    `prompt_tokens` is the number of tokens that the model read, with start and end tokens.
    """

    texts: Sequence[TextLabels]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class TaggingRequest:
    """Texts whose words are to be tagged.

    Attributes:
        inputs: the texts.
        threshold: probability that a span needs; None: all spans are returned.
        tenant: whose request it is; tenants are served in rotation.
    """

    inputs: Sequence[str]
    threshold: float | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class TaggingResult:
    """The spans of every text, in order.

    `prompt_tokens` is the number of tokens that the model read, with start and end tokens and the context of sentences.
    """

    texts: Sequence[TaggedText]
    prompt_tokens: int


class ClassificationService(Protocol):
    """A classifier of texts, or a tagger of words.

    `chat.classification_service.StepwiseClassificationService` implements it.
    """

    @property
    def name(self) -> str:
        """Served model name."""

    @property
    def created(self) -> int:
        """Unix time of the weights, in seconds."""

    @property
    def task(self) -> ClassifierTask:
        """What it labels."""

    @property
    def labels(self) -> Sequence[str]:
        """All labels; of a tagger its tags."""

    @property
    def is_multi_label(self) -> bool:
        """True if a text may have several labels."""

    @property
    def max_input_tokens(self) -> int:
        """Number of tokens from which a text is truncated, or the sentence of a tagger is read in several windows."""

    async def classify(self, request: ClassificationRequest) -> ClassificationResult:
        """Classify texts. Cancelling the call stops the computation after the current batch.

        Raises:
            InvalidParameter: this is a tagger.
            TurnwiseError: the computation failed.
        """

    async def tag(self, request: TaggingRequest) -> TaggingResult:
        """Find the labelled spans of texts. Cancelling the call stops the computation after the current batch.

        Raises:
            InvalidParameter: this is a classifier of texts.
            TurnwiseError: the computation failed.
        """


class StepwiseClassifier(Protocol):
    """Computes labels in steps of a fraction of a second. `app.classifiers.TextClassifier` implements it."""

    def classify_in_steps(self, request: ClassificationRequest) -> Steps[ClassificationResult]:
        """Classify texts. Raises as `ClassificationService.classify`."""

    def tag_in_steps(self, request: TaggingRequest) -> Steps[TaggingResult]:
        """Find the labelled spans of texts. Raises as `ClassificationService.tag`."""
