"""Classifies texts, or tags their words, with a trained classifier.

Shapes: N texts, K labels, L logits (see `models/classifier_outputs.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnwise.app.predicted_spans import Prediction, fill_gaps, spans_of
from turnwise.core.classification import LabelScore, TaggedText, TextLabels
from turnwise.core.classification_service import (
    ClassificationRequest,
    ClassificationResult,
    TaggingRequest,
    TaggingResult,
)
from turnwise.core.errors import InvalidParameter
from turnwise.core.steps import Steps, run_steps
from turnwise.core.tag_schemes import OUTSIDE
from turnwise.core.word_features import encode_words
from turnwise.data.annotations.annotated import TaggedSentence, group_sentences, join_sentences, with_context
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.models.classifier_outputs import find_refused, label_probabilities
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.words import Word, iterate_sentences
from turnwise.training.examples.sentence_windows import SentenceWindow, sentence_windows

if TYPE_CHECKING:
    from turnwise.engine.classifier_engine import ClassifierEngine

TEXTS_PER_STEP = 64  # texts that are split or tokenized in a step
SENTENCES_PER_STEP = 1024  # sentences that are split in a step
MULTI_LABEL_PROBABILITY = 0.5  # from which a multi-label classifier predicts a label


@dataclass(frozen=True)
class TextClassifier:
    """Classifies texts, or tags their words (implements `core.classification_service.StepwiseClassifier`).

    Attributes:
        config: labels and task.
        tokenizer: the model's tokenizer.
        engine: computes logits.
        max_tokens: maximum number of tokens of a text, start and end tokens included; that of training.
        vector_rows: rows of the classifier's word vectors, by word.
    """

    config: ClassifierConfig
    tokenizer: Tokenizer
    engine: "ClassifierEngine"
    max_tokens: int
    vector_rows: Mapping[str, int] = field(default_factory=dict)

    def classify(self, texts: Sequence[str]) -> list[TextLabels]:
        """Predict the labels of texts. Raises `InvalidParameter` if this is a tagger."""
        return list(run_steps(self.classify_in_steps(ClassificationRequest(texts))).texts)

    def tag(self, texts: Sequence[str]) -> list[TaggedText]:
        """Find the labelled spans of texts. Raises `InvalidParameter` if this is a classifier of texts.

        A text is a document: its sentences have the others as context, as in training.
        """
        return list(run_steps(self.tag_in_steps(TaggingRequest(texts))).texts)

    def tag_words(self, sentences: Sequence[TaggedSentence]) -> list[tuple[list[str], list[float]]]:
        """The tag of every word of the sentences, and its probability; the sentences' own tags are not used.

        Words without a token, such as control characters, get a tag as in `predicted_spans.fill_gaps`. Raises
        `InvalidParameter` if this is a classifier of texts.
        """
        tagged, _ = run_steps(self._tag_words_in_steps(sentences))
        return tagged

    def classify_in_steps(self, request: ClassificationRequest) -> Steps[ClassificationResult]:
        """Predict the labels of texts. A step tokenizes some of the texts, computes a batch, or does both.

        Raises `InvalidParameter` if this is a tagger.
        """
        logits_NL, is_truncated, num_tokens = yield from self._logits_in_steps(request.inputs)
        probabilities_NK = label_probabilities(logits_NL, self.config)
        rows = zip(probabilities_NK, find_refused(logits_NL, self.config), is_truncated, strict=True)
        return ClassificationResult([self._labels(*row, request) for row in rows], num_tokens)

    def text_logits(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[bool]]:
        """Logits of texts, `(N, L)`, and whether a text was cut off.

        Raises `InvalidParameter` if this is a tagger.
        """
        logits_NL, is_truncated, _ = run_steps(self._logits_in_steps(texts))
        return logits_NL, is_truncated

    def _logits_in_steps(self, texts: Sequence[str]) -> Steps[tuple[NDArray[np.float32], list[bool], int]]:
        """Logits, whether a text was cut off, and the number of tokens that the model read."""
        if self.config.task != "sequence_classification":
            raise InvalidParameter("model", "This model tags words: use `turnwise tag`.")
        before, after = self.tokenizer.added_ids
        size = self.max_tokens - len(before) - len(after)
        sequences: list[list[int]] = []
        is_truncated: list[bool] = []
        for number, text in enumerate(texts):
            if number and number % TEXTS_PER_STEP == 0:
                yield
            ids, is_longer = self.tokenizer.encode_start(text, size)
            is_truncated.append(is_longer)
            sequences.append([*before, *ids, *after] or [self.tokenizer.pad_token_id])
        logits_NL = yield from self.sequence_logits_in_steps(sequences)
        return logits_NL, is_truncated, sum(map(len, sequences))

    def sequence_logits_in_steps(self, sequences: Sequence[Sequence[int]]) -> Steps[NDArray[np.float32]]:
        """Logits of texts by their token ids, `(N, L)`. A step computes a batch. The ids are read as they are.

        Args:
            sequences: token ids, at least one per text and at most `max_tokens`, with start and end tokens.

        Raises:
            TurnwiseError: the logits are not finite.
        """
        logits_NL = np.zeros((len(sequences), self.config.num_logits), dtype=np.float32)
        for number, batch in enumerate(self.engine.batches([len(ids) for ids in sequences])):
            if number:  # not before the first batch: most requests are short, and a step costs a change of threads
                yield
            logits_NL[batch] = self.engine.text_logits([sequences[number] for number in batch])
        return logits_NL

    def _labels(
        self,
        probabilities_K: NDArray[np.float64],
        is_refused: bool,
        is_truncated: bool,
        request: ClassificationRequest,
    ) -> TextLabels:
        ranking_K = np.argsort(-probabilities_K, kind="stable")
        labels, threshold = self.config.labels, request.threshold
        if self.config.is_multi_label:
            threshold = MULTI_LABEL_PROBABILITY if threshold is None else threshold
            num_labels = int((probabilities_K >= threshold).sum())
        elif threshold is not None:
            num_labels = int(probabilities_K[ranking_K[0]] >= threshold)
        else:
            num_labels = int(not is_refused)
        chosen = tuple(labels[index] for index in ranking_K[:num_labels])
        shown_K = ranking_K[: request.top_k]
        pairs = zip(shown_K.tolist(), probabilities_K[shown_K].tolist(), strict=True)
        scores = tuple(LabelScore(labels[index], probability) for index, probability in pairs)
        return TextLabels(chosen, scores, is_truncated)

    def tag_in_steps(self, request: TaggingRequest) -> Steps[TaggingResult]:
        """Find the labelled spans of texts; see `tag`. A step splits or tokenizes some texts, or computes a batch.

        Raises `InvalidParameter` if this is a classifier of texts.
        """
        words_of_texts: list[list[list[Word]]] = []
        sentences: list[TaggedSentence] = []
        for document, text in enumerate(request.inputs):
            if document and document % TEXTS_PER_STEP == 0:
                yield
            words_of_texts.append([])
            for words in iterate_sentences(text):
                words_of_texts[-1].append(words)
                sentences.append(sentence_of([word.text for word in words], document))
                if len(sentences) % SENTENCES_PER_STEP == 0:
                    yield
        tagged, num_tokens = yield from self._tag_words_in_steps(with_context(sentences, self.config.context_words))
        tags_of_sentences = iter(tagged)
        results = []
        for text, sentences_of_text in zip(request.inputs, words_of_texts, strict=True):
            spans = [span for words in sentences_of_text for span in spans_of(text, words, *next(tags_of_sentences))]
            threshold = request.threshold or 0.0
            results.append(TaggedText(text, tuple(span for span in spans if span.probability >= threshold)))
        return TaggingResult(results, num_tokens)

    def _tag_words_in_steps(
        self, sentences: Sequence[TaggedSentence]
    ) -> Steps[tuple[list[tuple[list[str], list[float]]], int]]:
        """Tags and probabilities as for `tag_words`, and the number of tokens that the model read."""
        if self.config.task != "token_classification":
            raise InvalidParameter("model", "This model classifies texts: use `turnwise classify`.")
        if not self.config.window_words:
            return (yield from self._tag_sentences_in_steps(sentences))
        groups = group_sentences(sentences, self.config.window_words)
        tagged_groups, num_tokens = yield from self._tag_sentences_in_steps([*map(join_sentences, groups)])
        results: list[tuple[list[str], list[float]]] = []
        for group, (tags, probabilities) in zip(groups, tagged_groups, strict=True):
            start = 0
            for sentence in group:
                words = slice(start, start + len(sentence.tokens))
                results.append((tags[words], probabilities[words]))
                start = words.stop
        return results, num_tokens

    def _tag_sentences_in_steps(
        self, sentences: Sequence[TaggedSentence]
    ) -> Steps[tuple[list[tuple[list[str], list[float]]], int]]:
        before, after = self.tokenizer.added_ids
        max_tokens = self.max_tokens - len(before) - len(after)
        windows: list[tuple[int, SentenceWindow]] = []
        for number, sentence in enumerate(sentences):
            for window in sentence_windows(sentence, self.tokenizer, max_tokens, self.config.context_words):
                if windows and len(windows) % TEXTS_PER_STEP == 0:
                    yield
                windows.append((number, window))
        with_tokens = [
            number for number, (_, window) in enumerate(windows) if any(p is not None for p in window.first_pieces)
        ]
        num_tokens = 0
        tagged: dict[int, tuple[list[int], list[float]]] = {}
        for batch in self.engine.batches([len(windows[number][1].ids) for number in with_tokens]):
            yield
            numbers = [with_tokens[index] for index in batch]
            sequences = [[*before, *windows[number][1].ids, *after] for number in numbers]
            tokens = [[len(before) + p for p in windows[number][1].first_pieces if p is not None] for number in numbers]
            features = self._features([windows[number][1] for number in numbers])
            tagged.update(zip(numbers, self.engine.tags(sequences, tokens, features), strict=True))
            num_tokens += sum(map(len, sequences))
        predictions: list[list[Prediction | None]] = [[] for _ in sentences]
        for window_number, (number, window) in enumerate(windows):
            tags = zip(*tagged.get(window_number, ([], [])), strict=True)
            for piece in window.first_pieces:
                tag, probability = (None, 0.0) if piece is None else next(tags)
                predictions[number].append(None if tag is None else (self.config.labels[tag], probability))
        default = OUTSIDE if OUTSIDE in self.config.labels else self.config.labels[0]
        return [fill_gaps(words, default) for words in predictions], num_tokens

    def _features(self, windows: Sequence[SentenceWindow]) -> NDArray[np.int32] | None:
        """Features of all words that have a token, if the classifier uses them."""
        if not self.config.encodes_words:
            return None
        words = [pair for window in windows for pair in window.words_with_tokens()]
        return encode_words([word for word, _ in words], self.vector_rows, [is_start for _, is_start in words])


def sentence_of(words: Sequence[str], document: int = 0) -> TaggedSentence:
    """Words whose tags are not known."""
    return TaggedSentence(tuple(words), (OUTSIDE,) * len(words), document)
