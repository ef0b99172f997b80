"""Quotes passages word for word, with citations."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from turnwise.chat.service_path.passage_finders import ScoredPassage
from turnwise.chat.service_path.scenario_documents import INTENT_KEY
from turnwise.chat.service_path.support_check import cite
from turnwise.chat.service_path.text_evidence import content_words, count_words, numbers, sentences
from turnwise.chat.service_path.turn import ServiceAnswer
from turnwise.core.retrieval import Passage

NUMBER_BONUS = 2.0  # about the weight of one rare word
MAX_QUOTED, MAX_QUOTED_WORDS = 2, 60  # passages that are quoted, and words of each
MIN_SIMILARITY_RATIO = 0.7  # of the second passage and the best
ADDITION_FACTOR = 1.25  # a passage is added to a template if it is so much more similar than a passage has to be

_QUANTITY_QUESTION = re.compile(
    r"\b(?:how (?:long|much|many|often|far|old|big|tall|heavy|late|soon|fast)|when|what time|price|cost)\b"
    r"|多久|多少|多长|多大|多高|几|何时|什么时候|价格|费用",
    re.IGNORECASE,
)


def quote_passages(query: str, candidates: Sequence[ScoredPassage]) -> ServiceAnswer:
    """What the passages say, word for word.

    Args:
        query: the message.
        candidates: at least one passage, best first, all with the same measure.
    """
    excerpts, indices = _excerpts(query, candidates)
    text, citations = cite(excerpts, indices, [item.original for item in candidates])
    return ServiceAnswer("knowledge", text, citations)


def _excerpts(query: str, candidates: Sequence[ScoredPassage]) -> tuple[list[str], list[int]]:
    """What to quote, and the index of the passage of each quotation.

    Of passages that were found by words, the best sentence. Of passages that were found by similarity, the best, and
    the second if it is nearly as similar: one of the two has the answer more often than the best alone.
    """
    if candidates[0].measure == "words":
        sentence, index = best_sentence(query, [item.passage for item in candidates])
        return [sentence], [index]
    least = MIN_SIMILARITY_RATIO * candidates[0].relevance
    indices = [index for index, item in enumerate(candidates) if item.relevance >= least][:MAX_QUOTED]
    return [excerpt(query, candidates[index].passage) for index in indices], indices


def add_passage(
    query: str, answer: ServiceAnswer, candidates: Sequence[ScoredPassage], threshold: float
) -> ServiceAnswer:
    """A template answer, followed by the best passage if that is from a document and much closer to the message.

    A template is the general answer of an intent, and a document may have the special case that was asked for.

    Args:
        query: the message.
        answer: the template answer, without citations.
        candidates: passages, best first, templates among them.
        threshold: similarity that a passage needs to answer a message.
    """
    if not candidates or candidates[0].measure != "similarity" or INTENT_KEY in candidates[0].original.metadata:
        return answer
    if candidates[0].relevance < ADDITION_FACTOR * threshold:
        return answer
    addition, citations = cite([excerpt(query, candidates[0].passage)], [0], [candidates[0].original])
    return replace(answer, text=f"{answer.text} {addition}", citations=citations)


def excerpt(query: str, passage: Passage) -> str:
    """A passage on one line; of a long one, its best sentence."""
    if count_words(passage.text) > MAX_QUOTED_WORDS:
        return best_sentence(query, [passage])[0]
    return " ".join(passage.text.split())


def best_sentence(query: str, passages: Sequence[Passage]) -> tuple[str, int]:
    """The sentence that answers a query best, and the index of its passage.

    Rare shared words count more. A question for a number, such as "how long", prefers a sentence that has one.
    """
    candidates = [(sentence, index) for index, passage in enumerate(passages) for sentence in sentences(passage.text)]
    words = [content_words(sentence) for sentence, _ in candidates]
    counts = {word: sum(word in entry for entry in words) for word in content_words(query)}
    needs_number = _QUANTITY_QUESTION.search(query) is not None

    def weight(position: int) -> tuple[float, int]:
        shared = (word for word, count in counts.items() if count and word in words[position])
        total = sum(math.log(1 + len(candidates) / counts[word]) for word in shared)
        if total and needs_number and numbers(candidates[position][0]):
            total += NUMBER_BONUS
        return total, -position

    return candidates[max(range(len(candidates)), key=weight)]
