"""Finds the topics of texts: by words and tickers of a YAML file, or by the names that a tagger finds."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from turnwise.app.monitor.sources.text_records import limit_topics
from turnwise.app.monitor.window_counter import MAX_TOPICS
from turnwise.core.classification import TaggedText
from turnwise.core.errors import InvalidParameter
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml
from turnwise.text.word_tokens import CJK

_CJK_CHARACTER = re.compile(f"[{CJK}]")


class TopicRule(StrictModel):
    """A topic and the words that stand for it.

    Attributes:
        name: name of the topic.
        words: words and phrases, such as names and aliases; case is ignored.
        tickers: words that must match in case, such as ticker symbols.
    """

    name: str = Field(min_length=1, max_length=200)
    words: tuple[str, ...] = ()
    tickers: tuple[str, ...] = ()


class TopicFile(StrictModel):
    """A topic file."""

    topics: tuple[TopicRule, ...] = Field(min_length=1)


class TopicFinder(Protocol):
    """Finds the topics of texts."""

    @property
    def names(self) -> Sequence[str]:
        """Topics that are known in advance."""

    def find(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Topics of every text, without repeats."""


class Tagger(Protocol):
    """Finds labelled spans, such as names of companies (`app.classifiers.TextClassifier`)."""

    def tag(self, texts: Sequence[str]) -> list[TaggedText]:
        """Labelled spans of every text."""


class RuleTopics:
    """Finds topics by their words.

    A word matches between word borders: "Acme" in "Acme's" and "#acme", not in "Acmeville". White space in a phrase
    matches any white space. Words in Chinese, Japanese and Korean match anywhere, because they have no borders. Of
    several words that begin at the same character only the longest matches: "Bank of Exampleton" is not "Bank".

    Args:
        rules: the topics.

    Raises:
        InvalidParameter: a topic has no words, an empty word, or the name of another topic; there are too many topics.
    """

    def __init__(self, rules: Sequence[TopicRule]) -> None:
        self.names = tuple(rule.name for rule in rules)
        if len(rules) > MAX_TOPICS:
            raise InvalidParameter("topics", f"There are {len(rules):,} topics; at most {MAX_TOPICS:,} are counted.")
        for number, rule in enumerate(rules):
            if rule.name in self.names[:number]:
                raise InvalidParameter("topics", f"Two topics have the name '{rule.name}'.")
            if not rule.words + rule.tickers or not all(word.strip() for word in rule.words + rule.tickers):
                raise InvalidParameter("topics", f"The topic '{rule.name}' needs words or tickers, none of them empty.")
        self._words = _index((rule.name, _normal_form(word).casefold()) for rule in rules for word in rule.words)
        self._tickers = _index((rule.name, _normal_form(ticker)) for rule in rules for ticker in rule.tickers)
        self._word_pattern, self._ticker_pattern = _pattern(self._words), _pattern(self._tickers)

    def find(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Topics of every text, without repeats."""
        return [self._topics(_normal_form(text)) for text in texts]

    def _topics(self, text: str) -> tuple[str, ...]:
        topics: dict[str, None] = {}
        for pattern, index, content in (
            (self._word_pattern, self._words, text.casefold()),
            (self._ticker_pattern, self._tickers, text),
        ):
            for match in pattern.finditer(content) if pattern else ():
                topics.update(dict.fromkeys(index[" ".join(match.group().split())]))
        return tuple(topics)


class EntityTopics:
    """Takes the names that a tagger finds as topics, without regard to case and white space.

    Args:
        tagger: finds the names.
        labels: labels of names that are topics, such as "ORG"; empty: all.
    """

    names: Sequence[str] = ()

    def __init__(self, tagger: Tagger, labels: Iterable[str] = ()) -> None:
        self._tagger, self._labels = tagger, frozenset(labels)

    def find(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Topics of every text, without repeats."""
        return [
            limit_topics(
                " ".join(span.text.casefold().split())
                for span in tagged.spans
                if not self._labels or span.label in self._labels
            )
            for tagged in self._tagger.tag(texts)
        ]


def load_topic_rules(path: Path) -> tuple[TopicRule, ...]:
    """Read a topic file: YAML with a list `topics`. Raises `InvalidData` and `InvalidParameter`."""
    values: Any = read_yaml(path, "topic file")
    return parse_strict_model(TopicFile, values, origin=str(path)).topics


def _normal_form(text: str) -> str:
    """The text with every accent in the character that it belongs to (NFC): two forms of "é" look the same."""
    return unicodedata.normalize("NFC", text)


def _index(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names of topics by word, with single spaces."""
    index: dict[str, list[str]] = {}
    for name, word in pairs:
        names = index.setdefault(" ".join(word.split()), [])
        if name not in names:
            names.append(name)
    return index


def _pattern(index: Mapping[str, Any]) -> re.Pattern[str] | None:
    words = sorted(index, key=lambda word: (-len(word), word))  # the first alternative that matches wins
    return re.compile("|".join(map(_bordered, words))) if words else None


def _bordered(word: str) -> str:
    before, after = (
        "" if _CJK_CHARACTER.match(edge) else border for edge, border in ((word[0], r"(?<!\w)"), (word[-1], r"(?!\w)"))
    )
    return before + r"\s+".join(re.escape(piece) for piece in word.split(" ")) + after
