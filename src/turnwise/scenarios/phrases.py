"""Phrases that recognise what a message is about: words with endings, gaps and tolerance for misspellings.

::

    chest pain*                 words one after the other; * stands for any ending
    chest|heart ... hurt*       | separates alternatives; ... stands for up to `MAX_GAP` words
    胸口|心脏 ... 疼|痛           every Chinese character is a word
    dying!                      ! asks for the exact spelling; also before *: drown!*

A space separates words, so `cut my|his hand` is `cut my hand` or `cut his hand`.

A Latin word of five or more letters also matches one typing error (a letter too many, missing, wrong or swapped with
its neighbour), one of nine or more letters two, if the first letter is right. A beginning (`chest*`) matches one error
between its second and its last letter. Case, punctuation and apostrophes have
no meaning: `can't` is `cant`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from turnwise.core.errors import InvalidParameter

MAX_GAP = 4  # words; Chinese characters count half
MAX_MESSAGE_CHARS = 4000
GAP = "..."
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_APOSTROPHES = str.maketrans("", "", "'’‘ʼ`´")


@dataclass(frozen=True, slots=True)
class PhraseWord:
    """A word of a phrase.

    Attributes:
        text: the word, or the beginning of one.
        is_prefix: True if any ending may follow.
        max_errors: typing errors that are allowed.
    """

    text: str
    is_prefix: bool = False
    max_errors: int = 0

    def matches(self, token: str) -> bool:
        """True if a word of a message is this word."""
        if token == self.text or (self.is_prefix and token.startswith(self.text)):
            return True
        if not self.max_errors or token[0] != self.text[0] or token.isdigit():
            return False
        if not self.is_prefix:
            return is_similar(token, self.text, self.max_errors)
        # The beginning may have one letter more or less by an error. A short beginning is similar to many words, so
        # its first two letters and its last one have to be right: scald* is not "scale", poison* not "prisoner".
        return any(
            token[:2] == self.text[:2] and token[size - 1] == self.text[-1] and is_similar(token[:size], self.text, 1)
            for size in range(len(self.text) - 1, min(len(self.text) + 1, len(token)) + 1)
        )


Alternatives = tuple[tuple[PhraseWord, ...], ...]
TokenSets = tuple[frozenset[str], ...]
"""For every word of an alternative, the words of a message that match it."""


class MessageWords:
    """The words of a message, and which of them match the words of phrases. Used for many phrases, then dropped.

    Only the first `MAX_MESSAGE_CHARS` characters are read. A word of a phrase is compared with the words that have its
    first letter, so a long message costs little more than a short one.
    """

    def __init__(self, text: str) -> None:
        self.tokens = tokenize(text[:MAX_MESSAGE_CHARS])
        self._matches: dict[PhraseWord, frozenset[str]] = {}
        self._by_initial: dict[str, set[str]] = {}
        for token in self.tokens:
            self._by_initial.setdefault(token[0], set()).add(token)

    def matches(self, word: PhraseWord) -> frozenset[str]:
        """The words of the message that match a word of a phrase."""
        if word not in self._matches:
            candidates = self._by_initial.get(word.text[0], ())
            self._matches[word] = frozenset(token for token in candidates if word.matches(token))
        return self._matches[word]

    def resolve(self, alternatives: Alternatives) -> list[TokenSets]:
        """The alternatives of which every word occurs in the message."""
        resolved = (tuple(map(self.matches, words)) for words in alternatives)
        return [token_sets for token_sets in resolved if all(token_sets)]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A parsed phrase: alternatives of word sequences, with None for a gap."""

    source: str
    elements: tuple[Alternatives | None, ...]

    def find_all(self, message: MessageWords) -> list[tuple[int, int]]:
        """All spans of words that the phrase matches, as start and end; one for every start."""
        resolved: list[list[TokenSets] | None] = []
        for element in self.elements:
            resolved.append(None if element is None else message.resolve(element))
            if resolved[-1] == []:
                return []
        tokens, spans = message.tokens, []
        first_words = frozenset().union(*(token_sets[0] for token_sets in resolved[0] or ()))
        for start, token in enumerate(tokens):
            if token not in first_words:
                continue
            ends = {start}
            for alternatives in resolved:
                ends = _gap_ends(tokens, ends) if alternatives is None else _element_ends(tokens, ends, alternatives)
                if not ends:
                    break
            if ends:
                spans.append((start, min(ends)))
        return spans


def _element_ends(tokens: Sequence[str], starts: Iterable[int], alternatives: list[TokenSets]) -> set[int]:
    return {
        start + len(token_sets)
        for start in starts
        for token_sets in alternatives
        if start + len(token_sets) <= len(tokens)
        and all(tokens[start + offset] in matching for offset, matching in enumerate(token_sets))
    }


def _gap_ends(tokens: Sequence[str], starts: Iterable[int]) -> set[int]:
    ends: set[int] = set()
    for start in starts:
        size = 0.0
        end = start
        ends.add(end)
        while end < len(tokens):
            size += 0.5 if _is_cjk(tokens[end]) else 1
            end += 1
            if size > MAX_GAP:
                break
            ends.add(end)
    return ends


class PhraseList:
    """Phrases, and exceptions: a match that overlaps an exception does not count.

    Raises:
        InvalidParameter: a phrase is invalid.
    """

    def __init__(self, phrases: Iterable[str], exceptions: Iterable[str] = ()) -> None:
        self._phrases = tuple(map(parse_phrase, phrases))
        self._exceptions = tuple(map(parse_phrase, exceptions))

    def find(self, text: str | MessageWords) -> Phrase | None:
        """The first phrase that a text contains, or None."""
        message = MessageWords(text) if isinstance(text, str) else text
        return next((phrase for phrase, _ in self._matches(message)), None)

    def find_spans(self, message: MessageWords) -> list[tuple[int, int]]:
        """The spans of words that a phrase matches, as start and end."""
        return [span for _, span in self._matches(message)]

    def _matches(self, message: MessageWords) -> Iterator[tuple[Phrase, tuple[int, int]]]:
        excepted: set[int] | None = None
        for phrase in self._phrases:
            spans = phrase.find_all(message)
            if spans and excepted is None:
                excepted = self.excepted_words(message)
            yield from ((phrase, span) for span in spans if not excepted or excepted.isdisjoint(range(*span)))

    def excepted_words(self, message: MessageWords) -> set[int]:
        """Positions of the words that exceptions match."""
        spans = (span for exception in self._exceptions for span in exception.find_all(message))
        return {index for span in spans for index in range(*span)}


@lru_cache(maxsize=4096)
def parse_phrase(source: str) -> Phrase:
    """Parse a phrase. Raises `InvalidParameter` if it has no words, or begins or ends with a gap."""
    elements: list[Alternatives | None] = []
    for piece in source.replace("…", f" {GAP} ").split():
        if piece == GAP:
            elements.append(None)
            continue
        alternatives = tuple(words for alternative in piece.split("|") if (words := _parse_words(alternative)))
        if len(alternatives) <= piece.count("|"):
            raise InvalidParameter("phrases", f"the phrase {source!r} has an alternative without words.")
        elements.append(alternatives)
    if not elements or elements[0] is None or elements[-1] is None:
        raise InvalidParameter("phrases", f"the phrase {source!r} must begin and end with a word.")
    return Phrase(source, tuple(elements))


def _parse_words(alternative: str) -> tuple[PhraseWord, ...]:
    is_prefix, is_exact = alternative.endswith("*"), alternative.rstrip("*").endswith("!")
    tokens = tokenize(alternative)
    return tuple(
        PhraseWord(
            token, is_prefix and index == len(tokens) - 1, 0 if is_exact or _is_cjk(token) else allowed_errors(token)
        )
        for index, token in enumerate(tokens)
    )


def tokenize(text: str) -> list[str]:
    """The words of a text in lower case, without apostrophes; every CJK character is a word."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold())


def allowed_errors(word: str) -> int:
    """Typing errors that a word of this length may have."""
    if not word.isalpha():
        return 0
    return 2 if len(word) >= 9 else int(len(word) >= 5)


def is_similar(first: str, second: str, max_errors: int) -> bool:
    """True if at most `max_errors` insertions, deletions, replacements or swaps of neighbours change one to the other.

    Restricted Damerau-Levenshtein distance.
    """
    if abs(len(first) - len(second)) > max_errors:
        return False
    before: list[int] = []
    previous = list(range(len(second) + 1))
    for row, left in enumerate(first, 1):
        current = [row]
        for column, right in enumerate(second, 1):
            cost = min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (left != right))
            if row > 1 and column > 1 and left == second[column - 2] and first[row - 2] == right:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        if min(current) > max_errors + 1:
            return False
        before, previous = previous, current
    return previous[-1] <= max_errors


def _is_cjk(token: str) -> bool:
    return "\u3040" <= token[0] <= "\ud7af"
