"""Checks that an answer says only what its passages and the facts of the scenario say, and cites the passages.

A sentence is supported if its numbers, dates, prices, codes and names all occur in the evidence, enough of its content
words do, and it is negated as the sentence is that it resembles most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.chat.service_path.text_evidence import content_words, is_negated, names, numbers, overlap, sentences
from turnwise.core.retrieval import Passage
from turnwise.core.service_report import Citation


@dataclass(frozen=True, slots=True)
class Support:
    """The result of a check.

    Attributes:
        is_supported: True if every sentence is.
        score: smallest share of content words of a sentence that are in the evidence.
        passages: index of the passage that supports each sentence best.
        sentences: the sentences.
    """

    is_supported: bool
    score: float
    passages: tuple[int, ...]
    sentences: tuple[str, ...]


def check_support(answer: str, passages: Sequence[Passage], facts: Sequence[str], min_overlap: float) -> Support:
    """Compare an answer with passages and facts."""
    evidence = "\n".join([*(passage.text for passage in passages), *facts])
    allowed_numbers = numbers(evidence)
    allowed_words = content_words(evidence)
    allowed_names = {word.casefold().strip(".,;:!?()[]\"'“”") for word in evidence.split()} | names(evidence)
    answer_sentences = sentences(answer)
    is_supported, lowest, supporting = bool(answer_sentences), 1.0, []
    for sentence in answer_sentences:
        share = overlap(sentence, allowed_words)
        lowest = min(lowest, share)
        index, best_sentence = _best_support(sentence, passages)
        supporting.append(index)
        is_supported &= (
            share >= min_overlap
            and numbers(sentence) <= allowed_numbers
            and names(sentence) <= allowed_names
            and is_negated(sentence) == is_negated(best_sentence)
        )
    return Support(is_supported, lowest, tuple(supporting), tuple(answer_sentences))


def _best_support(sentence: str, passages: Sequence[Passage]) -> tuple[int, str]:
    """Index and sentence of the passage that shares the largest part of a sentence's content words."""
    candidates = [
        (overlap(sentence, content_words(candidate)), -index, candidate)
        for index, passage in enumerate(passages)
        for candidate in sentences(passage.text)
    ]
    if not candidates:
        return 0, ""
    _, index, best_sentence = max(candidates)
    return -index, best_sentence


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
