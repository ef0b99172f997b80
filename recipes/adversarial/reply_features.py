"""Features of a reply in its context, for classifiers that tell human replies from generated ones.

No feature comes from a decoder: the experiment's discriminator is a copy of the generator or a fine-tuned encoder.

Shapes: N replies, F features, D dimensions of an embedding.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import StandardScaler

from turnwise.core.knowledge import TextEncoder
from turnwise.core.messages import Conversation
from turnwise.evaluation.metric import FloatArray
from turnwise.text.word_tokens import split_words

LENGTH_SCALE = 2.0  # bins per doubling of the number of words
MAX_LENGTH_BINS = 20
NUM_PAIR_FEATURES = 2**18
ENDING_WORDS = 2


class ContextReply(NamedTuple):
    """A reply and the texts of the messages before it, oldest first."""

    context: tuple[str, ...]
    reply: str


class ReplyFeatures(Protocol):
    """Turns replies into rows of features; `fit` sees the training replies of both classes."""

    def fit_transform(self, items: Sequence[ContextReply]) -> Any:
        """Learn what the features need, and return those of the items, `(N, F)`."""

    def transform(self, items: Sequence[ContextReply]) -> Any:
        """The features of more items, `(N, F)`."""


def context_replies(dialogues: Sequence[Conversation], replies: Sequence[str]) -> list[ContextReply]:
    """Put each reply after the context of its dialogue."""
    return [
        ContextReply(tuple(message.content for message in dialogue.messages[:-1]), reply)
        for dialogue, reply in zip(dialogues, replies, strict=True)
    ]


def ngram_features() -> Any:
    """Word and character n-grams, words by whether the context has them, and pairs of a word asked and one answered.

    The last two tell a reply that fits from one that only sounds right.
    """
    pairs = HashingVectorizer(analyzer=_word_pairs, n_features=NUM_PAIR_FEATURES, alternate_sign=False)
    words_and_signs = re.compile(r"\w+|[^\w\s]").findall
    tfidf = partial(TfidfVectorizer, preprocessor=_lower_reply, sublinear_tf=True, min_df=2)
    return FeatureUnion([
        ("words", tfidf(tokenizer=words_and_signs, token_pattern=None, ngram_range=(1, 3))),
        ("characters", tfidf(analyzer="char_wb", ngram_range=(2, 5))),
        ("copied words", TfidfVectorizer(analyzer=_copied_words, min_df=2)),
        ("word pairs", pairs),
    ])  # fmt: skip


class LengthFeatures:
    """The number of words and of characters of a reply, in bins that grow by the root of 2."""

    def fit_transform(self, items: Sequence[ContextReply]) -> FloatArray:
        """The bins, which need no training."""
        return self.transform(items)

    def transform(self, items: Sequence[ContextReply]) -> FloatArray:
        """A row of bins for words beside one for characters."""
        rows_NF = np.zeros((len(items), 2 * MAX_LENGTH_BINS))
        for row_F, item in zip(rows_NF, items, strict=True):
            for offset, length in enumerate((len(split_words(item.reply)), len(item.reply))):
                length_bin = min(MAX_LENGTH_BINS - 1, int(LENGTH_SCALE * np.log2(1 + length)))
                row_F[offset * MAX_LENGTH_BINS + length_bin] = 1.0
        return rows_NF


def ending_features() -> Any:
    """The last character and the last words of a reply."""
    return HashingVectorizer(analyzer=_ending, n_features=2**14, alternate_sign=False)


class EmbeddingFeatures:
    """Vectors of a sentence encoder: of the reply, and its agreement with the one of the context, per dimension.

    Args:
        encoder: the encoder, whose weights stay as they are.
        vectors: vectors by text; shared by all instances, so that a text is embedded once.
    """

    def __init__(self, encoder: TextEncoder, vectors: dict[str, FloatArray]) -> None:
        self._encoder, self._vectors = encoder, vectors
        self._scaler = StandardScaler()

    def fit_transform(self, items: Sequence[ContextReply]) -> FloatArray:
        """Scale the features to equal variances over these items, and rows to a length of about 1."""
        features_NF = self._features(items)
        scaled_NF: FloatArray = self._scaler.fit_transform(features_NF) / features_NF.shape[1] ** 0.5
        return scaled_NF

    def transform(self, items: Sequence[ContextReply]) -> FloatArray:
        """The scaled features."""
        features_NF = self._features(items)
        scaled_NF: FloatArray = self._scaler.transform(features_NF) / features_NF.shape[1] ** 0.5
        return scaled_NF

    def _features(self, items: Sequence[ContextReply]) -> FloatArray:
        context_ND = self._embed(["\n".join(item.context) for item in items])
        reply_ND = self._embed([item.reply for item in items])
        return np.hstack([reply_ND, context_ND * reply_ND, np.abs(context_ND - reply_ND)])

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._encoder.embed_passages(new).astype(np.float64), strict=True))
        return np.stack([self._vectors[text] for text in texts])


def feature_kinds(encoder: TextEncoder | None) -> dict[str, Callable[[], Any]]:
    """Makers of features by the name of the classifier; `encoder` is there if an encoder is given."""
    kinds: dict[str, Callable[[], Any]] = {"ngrams": ngram_features}
    if encoder is not None:
        vectors: dict[str, FloatArray] = {}
        kinds["encoder"] = lambda: EmbeddingFeatures(encoder, vectors)
    return kinds | {"length": LengthFeatures, "ending": ending_features}


def difference(first: Any, second: Any) -> Any:
    """first − second, for dense and for sparse rows."""
    return first - second if not sparse.issparse(first) else sparse.csr_matrix(first - second)


def _lower_reply(item: ContextReply) -> str:
    return item.reply.lower()


def _copied_words(item: ContextReply) -> list[str]:
    context = {word for text in item.context for word in split_words(text)}
    return [f"{'copied' if word in context else 'new'} {word}" for word in split_words(item.reply)]


def _word_pairs(item: ContextReply) -> Iterator[str]:
    question = set(split_words(item.context[-1])) if item.context else set()
    for answer in set(split_words(item.reply)):
        for word in question:
            yield f"{word} {answer}"


def _ending(item: ContextReply) -> list[str]:
    words = split_words(item.reply)
    last = item.reply.rstrip()[-1:] or "nothing"
    return [f"character {last}", *(f"word {' '.join(words[-count:])}" for count in range(1, ENDING_WORDS + 1))]
