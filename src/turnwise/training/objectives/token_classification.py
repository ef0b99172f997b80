"""Token classification: predict a tag for every word of a sentence (named entities, parts of speech, slots).

The tag of a word is predicted at its first token. Its further tokens, the start and end tokens and the sentences around
it have no tag and no loss: labelling them "O", as some programs do, lets an easy label outnumber the others and makes
the reported accuracy look better than it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch.nn import functional as F

from turnwise.core.errors import InvalidData
from turnwise.core.tag_schemes import OUTSIDE, to_iob2
from turnwise.core.word_features import encode_words
from turnwise.core.word_vectors import WordVectors, read_word_vectors
from turnwise.data.annotations.annotated import AnnotationKind, TaggedSentence
from turnwise.models.classifier import Classifier, add_classifier
from turnwise.models.classifier_config import MAX_CRF_LABELS, MAX_LABELS, ClassifierConfig
from turnwise.models.language_model import LanguageModel
from turnwise.models.padded_layout import PaddedLayout
from turnwise.training import classification_metrics as counts
from turnwise.training import classification_objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.examples.sentence_windows import sentence_windows
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.objective import ExampleContext, Item, LossOutput

TAGS, CHARACTERS, VECTOR_ROWS = "tags", "characters", "vector_rows"  # names of the token labels


class TokenClassificationObjective(classification_objective.ClassificationObjective):
    """Cross-entropy of the words' tags, or the likelihood of a sentence's tags with a CRF.

    Attributes:
        crf: score sequences of tags by a CRF.
        context_words: maximum number of words before and after a sentence, from the same document, that the model sees.
        window_words: take neighbouring sentences of a document, up to this number of words, as one sentence. Every
            sentence then has context, for the computing time of one pass over the text; 0: each sentence on its own.
        word_features: show the head the characters and the shape (case, digits) of every word.
        sparse_features: add the weights of hashed features to the logits: words, affixes, shapes, neighbours, and
            the contexts of all occurrences of a word in a window.
        word_vectors: file of pretrained word vectors for the head; switches `word_features` on.
        lstm_size: size of a bidirectional LSTM over the words of a sentence, per direction; 0: none.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no sentence with tags"
    READS_ANNOTATIONS: ClassVar[AnnotationKind | None] = "tags"
    UNIT: ClassVar[str] = "word"

    crf: bool = False
    context_words: int = Field(0, ge=0)
    window_words: int = Field(0, ge=0)
    word_features: bool = False
    sparse_features: bool = False
    word_vectors: str | None = None
    lstm_size: int = Field(0, ge=0, le=8192)

    @property
    def num_context_words(self) -> int:
        """`context_words`."""
        return self.context_words

    @property
    def num_window_words(self) -> int:
        """`window_words`."""
        return self.window_words

    @model_validator(mode="after")
    def _check_context(self) -> "TokenClassificationObjective":
        if self.context_words and self.window_words:
            raise ValueError("has both 'context_words' and 'window_words': use one of them")
        return self

    def fit_labels(self, items: Iterable[Item]) -> "TokenClassificationObjective":
        """Return the objective with the tags of the training data, "O" first."""
        limit = MAX_CRF_LABELS if self.crf else MAX_LABELS
        if self.labels:
            return self.with_labels(self.labels, limit)
        sentences = [item for item in items if isinstance(item, TaggedSentence)]
        tags = {tag for sentence in sentences for tag in sentence.tags}
        if not tags:
            raise InvalidData(
                "The training data has no sentences with tags. Texts with labels: sequence_classification."
            )
        if self.context_words and not any(sentence.before or sentence.after for sentence in sentences):
            raise InvalidData(
                "'context_words' needs documents of several sentences, as in CoNLL columns; a row of a table is one."
            )
        # A tag that continues entities is possible wherever one begins, even if no entity in the data has two words.
        tags |= {f"I-{tag[2:]}" for tag in tags if tag.startswith("B-")}
        return self.with_labels(tuple(sorted(tags, key=lambda tag: (tag != OUTSIDE, tag))), limit)

    def add_head(self, base: ModelBundle, seed: int) -> ModelBundle:
        """Return the model with a classification head."""
        config = ClassifierConfig(
            "token_classification",
            self.labels,
            has_crf=self.crf,
            context_words=self.context_words,
            window_words=self.window_words,
            has_word_features=self._has_word_features,
            has_sparse_features=self.sparse_features,
            lstm_size=self.lstm_size,
        )
        return replace(base, model=add_classifier(base.model, config, self.dropout, seed, self._vectors))

    @property
    def _encodes_words(self) -> bool:
        return self._has_word_features or self.sparse_features

    @property
    def _has_word_features(self) -> bool:
        return self.word_features or self.word_vectors is not None

    @property
    def _vectors(self) -> WordVectors | None:
        return None if self.word_vectors is None else read_word_vectors(self.word_vectors)

    def examples(self, item: Item, context: ExampleContext) -> Iterator[Example]:
        """Yield a sentence with its context; a sentence that is too long in several parts."""
        if not isinstance(item, TaggedSentence):
            raise InvalidData("it has no tags")
        self.check_labels(item.tags)
        before, after = context.tokenizer.added_ids
        max_tokens = context.length - len(before) - len(after)
        vector_rows = {} if self._vectors is None else self._vectors.rows
        for window in sentence_windows(item, context.tokenizer, max_tokens, self.context_words):
            ids = np.array([*before, *window.ids, *after], dtype=np.int32)
            labels = np.full(len(ids), IGNORED, dtype=np.int64)
            predicted = [
                (len(before) + index, tag)
                for index, tag in zip(window.first_pieces, window.tags, strict=True)
                if index is not None
            ]
            if not predicted:
                continue
            indices = [index for index, _ in predicted]
            # Where the first word of an entity has no token, the next one begins it.
            labels[indices] = [self.labels.index(tag) for tag in to_iob2([tag for _, tag in predicted])]
            token_labels: dict[str, NDArray[Any]] = {TAGS: labels}
            if self._encodes_words:
                words, is_start = zip(*window.words_with_tokens(), strict=True)
                features = encode_words(words, vector_rows, is_start)
                token_labels[CHARACTERS] = _spread(features[:, 1:].astype(np.uint8), indices, len(ids))
                if self.word_vectors is not None:
                    token_labels[VECTOR_ROWS] = _spread(features[:, 0], indices, len(ids))
            yield Example.labelled(ids, token_labels=token_labels)

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:  # noqa: ARG002
        """Cross-entropy summed over the words."""
        assert isinstance(model, Classifier), "`add_head` made it one"
        tags_BT = batch.token_labels[TAGS]
        is_labelled_BT = tags_BT != IGNORED
        logits_NK = model.word_logits(
            batch.ids_BT, is_labelled_BT, batch.segment_ids_BT, batch.positions_BT, self._features(batch)
        ).float()
        tags_N, segments_N = tags_BT[is_labelled_BT], batch.segment_ids_BT[is_labelled_BT]
        if model.head.crf is None:
            loss = F.cross_entropy(logits_NK, tags_N, reduction="sum")
        else:
            lengths = torch.bincount(segments_N.long())[1:]
            layout = PaddedLayout(lengths[lengths > 0].tolist(), logits_NK.device)
            tags_ST = layout.pad(tags_N[:, None])[:, :, 0]
            emissions_STK, mask_ST = layout.pad(logits_NK), layout.mask_BT
            loss = model.head.crf.negative_log_likelihood(emissions_STK, tags_ST, mask_ST).sum()
        predictions_N = logits_NK.detach().argmax(dim=1)
        if model.head.crf is not None and not model.module.training:  # validation; in training it costs too much
            decoded = model.head.crf.decode(emissions_STK, mask_ST)
            predictions_N = torch.tensor([*chain(*decoded)], device=tags_N.device)
        outside = self.labels.index(OUTSIDE) if OUTSIDE in self.labels else None
        return LossOutput(loss, counts.count_labels(predictions_N, tags_N, outside))

    def _features(self, batch: Batch) -> torch.Tensor | None:
        """Features of all words, `(N, F)` as from `encode_words`, if the head uses them."""
        if not self._encodes_words:
            return None
        is_word_BT = batch.token_labels[TAGS] != IGNORED
        characters_NF = batch.token_labels[CHARACTERS][is_word_BT]
        if self.word_vectors is None:
            return F.pad(characters_NF, (1, 0))  # row 0: no vector
        return torch.cat([batch.token_labels[VECTOR_ROWS][is_word_BT][:, None], characters_NF], dim=1)

    def loss_denominator(self, batch: Batch) -> float:
        """Number of words."""
        return float((batch.token_labels[TAGS] != IGNORED).sum())

    def metric_denominator(self, batch: Batch) -> float:
        """Number of words."""
        return self.loss_denominator(batch)


def _spread(values: NDArray[Any], indices: Sequence[int], num_tokens: int) -> NDArray[Any]:
    """The values of words as labels of their first tokens; 0 for other tokens."""
    labels = np.zeros((num_tokens, *values.shape[1:]), dtype=values.dtype)
    labels[indices] = values
    return labels
