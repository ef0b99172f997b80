"""Sequence classification: predict the label of a text (intent, sentiment, topic), or any number of labels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch.nn import functional as F

from turnwise.core.errors import InvalidData
from turnwise.data.annotations.annotated import AnnotationKind, LabeledText
from turnwise.models.classifier import Classifier, add_classifier
from turnwise.models.classifier_config import ClassifierConfig, TextPooling
from turnwise.models.language_model import LanguageModel
from turnwise.training import classification_metrics as counts
from turnwise.training import classification_objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.objective import ExampleContext, Item, LossOutput
from turnwise.training.text_regularizers import consistency_loss, contrastive_loss

LABELS = "labels"  # name of the segment labels


class SequenceClassificationObjective(classification_objective.ClassificationObjective):
    """Cross-entropy of the texts' labels; binary cross-entropy of every label if a text may have several.

    Attributes:
        multi_label: a text may have any number of labels. Default: True if a text of the training data has not one.
        none_label: label of the texts that belong to none of the labels. They are one more class of the softmax, which
            the classifier answers with no label.
        pooling: "mean", "first" or "last" token; default: the mean for encoders, the last token for decoders.
        label_smoothing: share of the target probability that is spread over all labels.
        contrastive: weight of a supervised contrastive loss, which brings texts of a label together. It compares the
            texts of a micro-batch.
        consistency: weight of the disagreement between two forward passes with different dropout (R-Drop). A step takes
            twice as long.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no text with a label"
    READS_ANNOTATIONS: ClassVar[AnnotationKind | None] = "labels"
    UNIT: ClassVar[str] = "text"

    multi_label: bool | None = None
    none_label: str | None = Field(None, min_length=1)
    pooling: TextPooling | None = None
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    contrastive: float = Field(0.0, ge=0)
    consistency: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _check_none_label(self) -> "SequenceClassificationObjective":
        if self.none_label is not None and self.multi_label:
            raise ValueError("'none_label' is for texts with one label each; with 'multi_label' a text may have none")
        if self.none_label is not None and self.none_label in self.labels:
            raise ValueError(f"'{self.none_label}' is the 'none_label', so it cannot be one of the 'labels'")
        return self

    def fit_labels(self, items: Iterable[Item]) -> "SequenceClassificationObjective":
        """Return the objective with the labels of the training data, by name."""
        texts = [item for item in items if isinstance(item, LabeledText)]
        if self.none_label is not None:
            return self._fit_with_none(texts)
        multi_label = any(len(text.labels) != 1 for text in texts) if self.multi_label is None else self.multi_label
        usable = texts if multi_label else [text for text in texts if len(text.labels) == 1]
        names = self.labels or tuple(sorted({label for text in usable for label in text.labels}))
        if not names:
            raise InvalidData("The training data has no texts with labels. Sentences with tags: token_classification.")
        for option in ("label_smoothing", "contrastive", "consistency"):
            if multi_label and getattr(self, option):
                raise InvalidData(f"'{option}' needs texts with one label each, and these have several.")
        return self.with_labels(names).model_copy(update={"multi_label": multi_label})

    def _fit_with_none(self, texts: Sequence[LabeledText]) -> "SequenceClassificationObjective":
        """The objective with the labels of the texts, which are not `none_label`."""
        usable = [text.labels[0] for text in texts if len(text.labels) == 1]
        if self.none_label not in usable:
            raise InvalidData(f"The training data has no text with the label '{self.none_label}', the 'none_label'.")
        names = self.labels or tuple(sorted({*usable} - {self.none_label}))
        if not names:
            raise InvalidData(f"All texts of the training data have the label '{self.none_label}', the 'none_label'.")
        return self.with_labels(names).model_copy(update={"multi_label": False})

    def add_head(self, base: ModelBundle, seed: int) -> ModelBundle:
        """Return the model with a classification head."""
        if self.consistency and base.model.kind == "decoder":
            raise InvalidData("'consistency' needs a model with dropout, and decoders have none.")
        pooling = self.pooling or ("last" if base.model.kind == "decoder" else "mean")
        config = ClassifierConfig(
            "sequence_classification", self.labels, self.none_label,
            is_multi_label=bool(self.multi_label), pooling=pooling,
        )  # fmt: skip
        return replace(base, model=add_classifier(base.model, config, self.dropout, seed))

    def examples(self, item: Item, context: ExampleContext) -> Iterator[Example]:
        """Yield the text, cut off where it does not fit."""
        if not isinstance(item, LabeledText):
            raise InvalidData("it has no label")
        self.check_labels(label for label in item.labels if label != self.none_label)
        if not self.multi_label and len(item.labels) != 1:
            raise InvalidData(f"it has {len(item.labels)} labels, and every other text has one")
        before, after = context.tokenizer.added_ids
        text_ids, _ = context.tokenizer.encode_start(item.text, context.length - len(before) - len(after))
        ids = np.array([*before, *text_ids, *after], dtype=np.int32)
        if not len(ids):
            raise InvalidData("its text has no token")
        yield Example(
            ids, np.full(len(ids), IGNORED, dtype=np.int32), segment_labels={LABELS: self._target(item)[None]}
        )

    def _target(self, item: LabeledText) -> NDArray[Any]:
        if not self.multi_label:
            label = item.labels[0]
            index = self._none_class if label == self.none_label else self.labels.index(label)
            return np.array(index, dtype=np.int64)
        return np.isin(self.labels, item.labels).astype(np.float32)

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:  # noqa: ARG002
        """Cross-entropy summed over the texts."""
        assert isinstance(model, Classifier), "`add_head` made it one"
        texts_PC = model.text_vectors(batch.ids_BT, batch.segment_ids_BT, batch.positions_BT)
        logits_PK = model.logits(texts_PC).float()
        targets = batch.segment_labels[LABELS]
        if self.multi_label:
            loss = F.binary_cross_entropy_with_logits(logits_PK, targets, reduction="sum")
            return LossOutput(loss, counts.count_multi_labels(logits_PK.detach(), targets))
        loss = F.cross_entropy(logits_PK, targets, reduction="sum", label_smoothing=self.label_smoothing)
        if model.module.training:  # the loss of held-out data is the cross-entropy alone
            if self.consistency:
                other_PC = model.text_vectors(batch.ids_BT, batch.segment_ids_BT, batch.positions_BT)
                other_PK = model.logits(other_PC).float()
                second = F.cross_entropy(other_PK, targets, reduction="sum", label_smoothing=self.label_smoothing)
                loss = (loss + second) / 2 + self.consistency * consistency_loss(logits_PK, other_PK).sum()
            if self.contrastive:
                loss = loss + self.contrastive * contrastive_loss(texts_PC, targets, self._none_class).sum()
        return LossOutput(loss, counts.count_labels(logits_PK.detach().argmax(dim=1), targets, self._none_class))

    @property
    def _none_class(self) -> int | None:
        """Index of the logit of texts of no label."""
        return None if self.none_label is None else len(self.labels)

    def loss_denominator(self, batch: Batch) -> float:
        """Number of texts."""
        return float(len(batch.segment_labels[LABELS]))

    def metric_denominator(self, batch: Batch) -> float:
        """Number of texts."""
        return self.loss_denominator(batch)
