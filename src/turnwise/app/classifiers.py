"""Opens a trained classifier, and classifies or tags texts with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.classification import LabelScore, Span, TaggedText, TextLabels
from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.tag_schemes import OUTSIDE, entities, split_tag
from turnwise.data.annotations.annotated import TaggedSentence, with_context
from turnwise.models.classifier_config import ClassifierConfig, read_classifier_config
from turnwise.models.classifier_outputs import in_scope_scores, label_probabilities
from turnwise.models.model_kind import detect_model_kind, full_model_folder
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.words import Word, split_sentences
from turnwise.training.examples.sentence_windows import sentence_windows

if TYPE_CHECKING:
    from turnwise.engine.classifier_engine import ClassifierEngine, HiddenStates

MULTI_LABEL_PROBABILITY = 0.5  # from which a multi-label classifier predicts a label


@dataclass(frozen=True)
class TextClassifier:
    """Classifies texts, or tags their words.

    Attributes:
        config: labels and task.
        tokenizer: the model's tokenizer.
        engine: computes logits.
        max_tokens: maximum number of tokens of a text, start and end tokens included; that of training.
    """

    config: ClassifierConfig
    tokenizer: Tokenizer
    engine: "ClassifierEngine"
    max_tokens: int

    def classify(self, texts: Sequence[str]) -> list[TextLabels]:
        """Predict the labels of texts. Raises `InvalidParameter` if this is a tagger."""
        logits_NK, is_truncated = self.text_logits(texts)
        probabilities_NK = label_probabilities(logits_NK, self.config)
        scores_N = in_scope_scores(logits_NK, self.config)
        return [
            self._labels(*row) for row in zip(probabilities_NK.tolist(), scores_N.tolist(), is_truncated, strict=True)
        ]

    def text_logits(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[bool]]:
        """Logits of the labels of texts, `(N, K)`, and whether a text was cut off.

        Raises `InvalidParameter` if this is a tagger.
        """
        if self.config.task != "sequence_classification":
            raise InvalidParameter("model", "This model tags words: use `turnwise tag`.")
        before, after = self.tokenizer.added_ids
        size = self.max_tokens - len(before) - len(after)
        encoded = [self.tokenizer.encode(text) for text in texts]
        sequences = [[*before, *ids[:size], *after] or [self.tokenizer.pad_token_id] for ids in encoded]
        logits_NK = np.zeros((len(texts), len(self.config.labels)), dtype=np.float32)
        for batch in self.engine.batches([len(ids) for ids in sequences]):
            logits_NK[batch] = self.engine.text_logits([sequences[number] for number in batch])
        return logits_NK, [len(ids) > size for ids in encoded]

    def _labels(self, probabilities: Sequence[float], in_scope_score: float, is_truncated: bool) -> TextLabels:
        ranked = sorted(zip(self.config.labels, probabilities, strict=True), key=lambda pair: -pair[1])
        scores = tuple(LabelScore(label, probability) for label, probability in ranked)
        if self.config.is_multi_label:
            chosen = tuple(score.label for score in scores if score.probability >= MULTI_LABEL_PROBABILITY)
        else:
            is_refused = self.config.threshold is not None and in_scope_score < self.config.threshold
            chosen = () if is_refused else (scores[0].label,)
        return TextLabels(chosen, scores, is_truncated)

    def tag(self, texts: Sequence[str]) -> list[TaggedText]:
        """Find the labelled spans of texts. Raises `InvalidParameter` if this is a classifier of texts.

        A text is a document: its sentences have the others as context, as in training.
        """
        words_of_texts = [split_sentences(text) for text in texts]
        sentences = with_context(
            [
                sentence_of([word.text for word in words], document)
                for document, sentences in enumerate(words_of_texts)
                for words in sentences
            ],
            self.config.context_words,
        )
        tagged = iter(self.tag_words(sentences))
        results = []
        for text, sentences_of_text in zip(texts, words_of_texts, strict=True):
            spans: list[Span] = []
            for words in sentences_of_text:
                spans += spans_of(text, words, *next(tagged))
            results.append(TaggedText(text, tuple(spans)))
        return results

    def tag_words(self, sentences: Sequence[TaggedSentence]) -> list[tuple[list[str], list[float]]]:
        """The tag of every word of the sentences, and its probability; the sentences' own tags are not used.

        A word without a token, such as a control character, is "O" (or the first label) with probability 0. Raises
        `InvalidParameter` if this is a classifier of texts.
        """
        if self.config.task != "token_classification":
            raise InvalidParameter("model", "This model classifies texts: use `turnwise classify`.")
        before, after = self.tokenizer.added_ids
        max_tokens = self.max_tokens - len(before) - len(after)
        windows = [
            (number, window)
            for number, sentence in enumerate(sentences)
            for window in sentence_windows(sentence, self.tokenizer, max_tokens, self.config.context_words)
        ]
        with_tokens = [
            number for number, (_, window) in enumerate(windows) if any(p is not None for p in window.first_pieces)
        ]
        tagged: dict[int, tuple[list[int], list[float]]] = {}
        for batch in self.engine.batches([len(windows[number][1].ids) for number in with_tokens]):
            numbers = [with_tokens[index] for index in batch]
            sequences = [[*before, *windows[number][1].ids, *after] for number in numbers]
            tokens = [[len(before) + p for p in windows[number][1].first_pieces if p is not None] for number in numbers]
            tagged.update(zip(numbers, self.engine.tags(sequences, tokens), strict=True))
        default = self.config.labels.index(OUTSIDE) if OUTSIDE in self.config.labels else 0
        results: list[tuple[list[str], list[float]]] = [([], []) for _ in sentences]
        for window_number, (number, window) in enumerate(windows):
            predictions = zip(*tagged.get(window_number, ([], [])), strict=True)
            for piece in window.first_pieces:
                tag, probability = (default, 0.0) if piece is None else next(predictions)
                results[number][0].append(self.config.labels[tag])
                results[number][1].append(probability)
        return results


def open_classifier(model: str, *, quantize: str | None = None, threads: int | None = None) -> TextClassifier:
    """Open a trained classifier.

    Args:
        model: a model folder or name.
        quantize: "int8" quantizes an encoder's weights to 8 bits.
        threads: number of threads; None is the default of the engine.

    Raises:
        ModelNotFound: there is no such model.
        UserError: the folder holds no classifier, or a damaged one.
    """
    folder = resolve_model_folder(model)
    config = read_classifier_config(folder)
    tokenizer = Tokenizer.load(folder, full_model_folder(folder))
    hidden_states, hidden_size, max_tokens = _backbone(folder, quantize, threads)

    from turnwise.engine.classifier_engine import ClassifierEngine
    from turnwise.models.classifier import load_head

    head, config = load_head(folder, hidden_size)
    max_tokens = min(max_tokens, config.max_tokens or max_tokens)
    return TextClassifier(config, tokenizer, ClassifierEngine(hidden_states, head, config), max_tokens)


def _backbone(folder: Path, quantize: str | None, threads: int | None) -> "tuple[HiddenStates, int, int]":
    """The backbone's function of hidden states, its hidden size and its context length."""
    import torch

    from turnwise.engine.classifier_engine import decoder_hidden_states, encoder_hidden_states
    from turnwise.models import checkpoint
    from turnwise.models.encoder_weights import EncoderCheckpoint

    if detect_model_kind(folder) == "encoder":
        weights = EncoderCheckpoint(folder)
        states = encoder_hidden_states(weights, is_int8=quantize == "int8", threads=threads)
        return states, weights.config.hidden_size, weights.config.num_positions
    if quantize is not None:
        raise UserError("Only classifiers on encoders can be quantized.")
    decoder = checkpoint.load(folder, dtype=torch.float32)
    return decoder_hidden_states(decoder), decoder.decoder.config.hidden_size, decoder.context_length


def sentence_of(words: Sequence[str], document: int = 0) -> TaggedSentence:
    """Words whose tags are not known."""
    return TaggedSentence(tuple(words), (OUTSIDE,) * len(words), document)


def spans_of(text: str, words: Sequence[Word], tags: Sequence[str], probabilities: Sequence[float]) -> tuple[Span, ...]:
    """The labelled spans: entities of IOB2 tags, or every word with a plain label other than "O"."""
    ranges = [(entity.start, entity.end, entity.label) for entity in entities(tags)]
    ranges += [(n, n + 1, tag) for n, tag in enumerate(tags) if tag != OUTSIDE and not split_tag(tag)[0]]
    spans = []
    for first, last, label in sorted(ranges):
        start, end = words[first].start, words[last - 1].end
        spans.append(Span(start, end, text[start:end], label, min(probabilities[first:last])))
    return tuple(spans)
