"""What the objectives of classifiers share: labels that are known, F1 for early stopping, methods that train a head."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

from pydantic import Field, field_validator

from turnwise.core.errors import InvalidData
from turnwise.models.classifier_config import MAX_LABELS
from turnwise.models.language_model import ModelKind
from turnwise.training import classification_metrics as counts
from turnwise.training.objective import Objective


class ClassificationObjective(Objective):
    """Base class of objectives that predict labels of texts or words.

    Attributes:
        labels: the labels; default: those of the training data.
        dropout: probability of dropping an input of the classification head.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"decoder", "encoder"})
    ADDS_HEAD: ClassVar[bool] = True
    METHODS: ClassVar[tuple[str, ...] | None] = ("full", "freeze", "lora")
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = counts.COUNTS

    labels: tuple[str, ...] = ()
    dropout: float = Field(0.1, ge=0, lt=1)

    @field_validator("labels")
    @classmethod
    def _check_unique(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError("has a label twice")
        return labels

    def with_labels(self, labels: tuple[str, ...], limit: int = MAX_LABELS) -> Self:
        """Return the objective with these labels. Raises `InvalidData` if there are more than `limit`."""
        if len(labels) > limit:
            raise InvalidData(f"There are {len(labels):,} labels, and such a classifier has at most {limit:,}.")
        return self.model_copy(update={"labels": labels})

    def validation_metrics(self, extra_metrics: Mapping[str, float]) -> Mapping[str, float]:
        """F1."""
        return {"f1": counts.f1(extra_metrics)}

    def validation_score(self, loss: float, metrics: Mapping[str, float]) -> float:
        """1 − F1, since the loss rises again while predictions still improve; the loss decides between equal F1."""
        return 1 - metrics["f1"] + 1e-6 * loss

    def check_labels(self, names: Iterable[str]) -> None:
        """Raise `InvalidData` for a name that is none of the labels."""
        if unknown := set(names) - set(self.labels):
            raise InvalidData(
                f"'{min(unknown)}' does not occur in the training data; skip such rows, or name all `labels`"
            )
