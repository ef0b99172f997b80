"""Sequence classification: predict the label of a text (intent, sentiment, topic), or any number of labels."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
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
    pooling: TextPooling | None = None
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    contrastive: float = Field(0.0, ge=0)
    consistency: float = Field(0.0, ge=0)

    def fit_labels(self, items: Iterable[Item]) -> "SequenceClassificationObjective":
        """Return the objective with the labels of the training data, by name."""
        texts = [item for item in items if isinstance(item, LabeledText)]
        multi_label = any(len(text.labels) != 1 for text in texts) if self.multi_label is None else self.multi_label
        usable = texts if multi_label else [text for text in texts if len(text.labels) == 1]
        names = self.labels or tuple(sorted({label for text in usable for label in text.labels}))
        if not names:
            raise InvalidData("The training data has no texts with labels. Sentences with tags: token_classification.")
        for option in ("label_smoothing", "contrastive", "consistency"):
            if multi_label and getattr(self, option):
                raise InvalidData(f"'{option}' needs texts with one label each, and these have several.")
        return self.with_labels(names).model_copy(update={"multi_label": multi_label})

    def add_head(self, base: ModelBundle, seed: int) -> ModelBundle:
        """Return the model with a classification head."""
        if self.consistency and base.model.kind == "decoder":
            raise InvalidData("'consistency' needs a model with dropout, and decoders have none.")
        pooling = self.pooling or ("last" if base.model.kind == "decoder" else "mean")
        config = ClassifierConfig(
            "sequence_classification", self.labels, is_multi_label=bool(self.multi_label), pooling=pooling
        )
        return replace(base, model=add_classifier(base.model, config, self.dropout, seed))

    def examples(self, item: Item, context: ExampleContext) -> Iterator[Example]:
        """Yield the text, cut off where it does not fit."""
        if not isinstance(item, LabeledText):
            raise InvalidData("it has no label")
        self.check_labels(item.labels)
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
            return np.array(self.labels.index(item.labels[0]), dtype=np.int64)
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
                loss = loss + self.contrastive * contrastive_loss(texts_PC, targets).sum()
        return LossOutput(loss, counts.count_labels(logits_PK.detach().argmax(dim=1), targets, None))

    def loss_denominator(self, batch: Batch) -> float:
        """Number of texts."""
        return float(len(batch.segment_labels[LABELS]))

    def metric_denominator(self, batch: Batch) -> float:
        """Number of texts."""
        return self.loss_denominator(batch)
