"""Checks that an answer says only what its passages and the facts of the scenario say, and cites them.

A sentence is supported if its numbers, dates, prices, codes and names all occur in the evidence, enough of its content
words do, and it is negated as the evidence is that it shares the most words with: a sentence of a passage, or a fact.
This evidence is cited.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.chat.service_path.fact_evidence import FactEvidence
from turnwise.chat.service_path.text_evidence import content_words, is_negated, names, numbers, overlap, sentences
from turnwise.core.retrieval import Passage
from turnwise.core.service_report import Citation


@dataclass(frozen=True, slots=True)
class Support:
    """The result of a check.

    Attributes:
        is_supported: True if every sentence is.
        score: smallest share of content words of a sentence that are in the evidence.
        passages: index of the passage or fact that supports each sentence best; empty if nothing supports any.
        sentences: the sentences.
    """

    is_supported: bool
    score: float
    passages: tuple[int, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence that can support another one.

    Attributes:
        passage: index of its passage.
        text: the sentence.
        words: its content words; for a fact also those of its name and terms.
    """

    passage: int
    text: str
    words: frozenset[str]


def check_support(
    answer: str, passages: Sequence[Passage], facts: Sequence[FactEvidence], min_overlap: float
) -> Support:
    """Compare an answer with passages and facts. In the result, the facts follow the passages."""
    candidates = [
        Evidence(index, candidate, content_words(candidate))
        for index, passage in enumerate(passages)
        for candidate in sentences(passage.text)
    ]
    candidates += [
        Evidence(index, fact.passage.text, fact.words) for index, fact in enumerate(facts, start=len(passages))
    ]
    text = "\n".join([*(passage.text for passage in passages), *(fact.passage.text for fact in facts)])
    allowed_numbers = numbers(text)
    allowed_words = content_words(text).union(*(fact.words for fact in facts))
    allowed_names = {word.casefold().strip(".,;:!?()[]\"'“”") for word in text.split()} | names(text)
    answer_sentences = sentences(answer)
    is_supported, lowest, supporting = bool(answer_sentences), 1.0, list[int | None]()
    for sentence in answer_sentences:
        words = content_words(sentence)
        if not words:  # such as "It is.": it states nothing that can be looked up, and a bare "no" denies something
            is_supported &= not is_negated(sentence)
            supporting.append(None)
            continue
        share = overlap(sentence, allowed_words)
        lowest = min(lowest, share)
        best = _best_support(words, candidates)
        supporting.append(None if best is None else best.passage)
        is_supported &= (
            best is not None
            and share >= min_overlap
            and numbers(sentence) <= allowed_numbers
            and names(sentence) <= allowed_names
            and is_negated(sentence) == is_negated(best.text)
        )
    cited = _with_neighbours(supporting)
    return Support(is_supported and bool(cited), lowest, cited, tuple(answer_sentences))


def _best_support(words: frozenset[str], candidates: Sequence[Evidence]) -> Evidence | None:
    """The evidence with the most of a sentence's words, and the fewest others; None if none shares a word."""

    def similarity(candidate: Evidence) -> tuple[int, float]:
        num_shared = len(words & candidate.words)
        return num_shared, num_shared / len(words | candidate.words)

    best = max(candidates, key=similarity, default=None)  # the first of equal ones: a passage before a fact
    return best if best is not None and words & best.words else None


def _with_neighbours(supporting: Sequence[int | None]) -> tuple[int, ...]:
    """The passage of every sentence; one without a passage gets that of the sentence before it, else of the next.

    Empty if no sentence has one.
    """
    filled = list(supporting)
    for position in range(1, len(filled)):
        filled[position] = filled[position - 1] if filled[position] is None else filled[position]
    first = next((index for index in filled if index is not None), None)
    return () if first is None else tuple(first if index is None else index for index in filled)


def cite(
    answer_sentences: Sequence[str], supporting: Sequence[int], passages: Sequence[Passage]
) -> tuple[str, tuple[Citation, ...]]:
    """The answer with the number of a citation after each sentence, and the citations."""
    order = list(dict.fromkeys(supporting))
    texts = []
    for position, (sentence, index) in enumerate(zip(answer_sentences, supporting, strict=True)):
        following = supporting[position + 1] if position + 1 < len(supporting) else None
        texts.append(sentence if index == following else f"{sentence} [{order.index(index) + 1}]")
    return " ".join(texts), tuple(_citation(number, passages[index]) for number, index in enumerate(order, 1))


def _citation(number: int, passage: Passage) -> Citation:
    location = passage.location
    if location is None:
        return Citation(number, passage.source, passage.text)
    return Citation(
        number, passage.source, passage.text, location.document_hash, location.start, location.end, location.page
    )
