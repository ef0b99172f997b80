"""Baselines of classifiers: the most frequent label of the training data, and the most frequent tag of every word."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from turnwise.core.classification import LabelScore, TextLabels
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence

MOST_FREQUENT_LABEL, MOST_FREQUENT_TAG = "most frequent label", "most frequent tag of the word"


class MostFrequentLabel:
    """Predicts the most frequent label or set of labels for every text; probabilities are shares of the texts.

    Args:
        texts: training texts, at least one.
    """

    name = MOST_FREQUENT_LABEL

    def __init__(self, texts: Sequence[LabeledText]) -> None:
        counts = Counter(label for text in texts for label in text.labels)
        (labels, _), *_ = Counter(tuple(sorted(text.labels)) for text in texts).most_common(1)
        scores = tuple(LabelScore(label, count / len(texts)) for label, count in counts.most_common())
        self._prediction = TextLabels(labels, scores)

    def classify(self, texts: Sequence[str]) -> list[TextLabels]:
        """Return the same labels for all texts."""
        return [self._prediction] * len(texts)


class MostFrequentTag:
    """Predicts the most frequent tag of every word in the training data, and of all words for others.

    Args:
        sentences: training sentences, at least one.
    """

    name = MOST_FREQUENT_TAG

    def __init__(self, sentences: Sequence[TaggedSentence]) -> None:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        total: Counter[str] = Counter()
        for sentence in sentences:
            total.update(sentence.tags)
            for word, tag in zip(sentence.tokens, sentence.tags, strict=True):
                counts[word][tag] += 1
        self._tags = {word: _most_frequent(tags) for word, tags in counts.items()}
        self._default = _most_frequent(total)

    def tag_words(self, sentences: Sequence[TaggedSentence]) -> list[tuple[list[str], list[float]]]:
        """Return tags and their shares among the tags of the word."""
        results = []
        for sentence in sentences:
            predictions = [self._tags.get(word, self._default) for word in sentence.tokens]
            results.append(([tag for tag, _ in predictions], [share for _, share in predictions]))
        return results


def _most_frequent(counts: Counter[str]) -> tuple[str, float]:
    """The most frequent tag and its share."""
    ((tag, count),) = counts.most_common(1)
    return tag, count / counts.total()
