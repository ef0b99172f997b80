"""Step 6: an answer from the documents, with citations.

The model answers from the passages. If it says anything that they do not support, the best sentence of the passages is
the answer instead, so every answer of this step cites at least one passage or fact.
"""

import math
import re
from collections.abc import Sequence

from turnwise.chat.grounding import MAX_PASSAGES, format_passages
from turnwise.chat.service_path.fact_evidence import fact_evidence
from turnwise.chat.service_path.generation import prompt_messages
from turnwise.chat.service_path.passage_finders import FoundPassage, Measure, word_query
from turnwise.chat.service_path.support_check import check_support, cite
from turnwise.chat.service_path.text_evidence import content_words, count_words, numbers, sentences
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.chat_response import Usage
from turnwise.core.errors import ContextLengthExceeded, TemplateError
from turnwise.core.messages import Message
from turnwise.core.retrieval import Passage

NAME = "grounded_answer"
NUMBER_BONUS = 2.0  # about the weight of one rare word
MAX_QUOTED, MAX_QUOTED_WORDS = 2, 60  # passages that are quoted, and words of each
MIN_SIMILARITY_RATIO = 0.7  # of the second passage and the best

_QUANTITY_QUESTION = re.compile(
    r"\b(?:how (?:long|much|many|often|far|old|big|tall|heavy|late|soon|fast)|when|what time|price|cost)\b"
    r"|多久|多少|多长|多大|多高|几|何时|什么时候|价格|费用",
    re.IGNORECASE,
)


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer from the documents if the intent asks for it, or if no intent is certain and a passage fits well."""
    if turn.kind not in ("knowledge", None):
        return StepResult("not_needed")
    if turn.finder is None:
        return _unanswered(turn, StepResult("no_documents"))
    messages = [message.content for message in turn.messages if message.role == "user"]
    found = await turn.finder.find(messages, MAX_PASSAGES)
    best = max(found, key=lambda item: item.relevance - _threshold(turn, item.measure), default=None)
    if best is None:
        return _unanswered(turn, StepResult("no_passage"))
    threshold = _threshold(turn, best.measure)
    if best.relevance < threshold:
        return _unanswered(turn, StepResult("no_passage", score=best.relevance, threshold=threshold))
    turn.state.clear_question()
    return await _answer(turn, word_query(messages), found)


def _threshold(turn: ServiceTurn, measure: Measure) -> float:
    """The smallest relevance that suffices; half of it if the intent is one that documents answer."""
    threshold = turn.thresholds.retrieval if measure == "words" else turn.thresholds.similarity
    return threshold if turn.kind is None else threshold / 2


def _unanswered(turn: ServiceTurn, result: StepResult) -> StepResult:
    if turn.kind == "knowledge":
        turn.failed.append("knowledge")
        turn.kind = "hand_off"
    return result


async def _answer(turn: ServiceTurn, query: str, found: Sequence[FoundPassage]) -> StepResult:
    passages, originals = [item.passage for item in found], [item.original for item in found]
    question = Message("user", f"{format_passages(passages)}\n\n{turn.message}")
    text, usage = "", Usage(0, 0)
    try:
        response = await turn.model.reply(turn.model_request(prompt_messages(turn, (*turn.messages[:-1], question))))
    except (ContextLengthExceeded, TemplateError):  # too long for the model, or a text that its template cannot show
        pass
    else:
        text, usage = response.text.strip() if response.finish_reason == "stop" else "", response.usage
    facts = fact_evidence(turn.definition, turn.language)
    threshold = turn.thresholds.support
    support = check_support(text, passages, facts, threshold)
    if support.is_supported:
        sources = [*originals, *(fact.passage for fact in facts)]
        cited, citations = cite(support.sentences, support.passages, sources)
        answer = ServiceAnswer("knowledge", cited, citations, usage)
        return StepResult("supported", answer, score=support.score, threshold=threshold)
    excerpts, indices = _excerpts(query, found)
    cited, citations = cite(excerpts, indices, originals)
    answer = ServiceAnswer("knowledge", cited, citations, usage)
    return StepResult("extracted", answer, score=support.score if text else 0.0, threshold=threshold)


def _excerpts(query: str, found: Sequence[FoundPassage]) -> tuple[list[str], list[int]]:
    """What to quote, and the index of the passage of each quotation.

    Of passages that were found by words, the best sentence. Of passages that were found by similarity, the best, and
    the second if it is nearly as similar: one of the two has the answer more often than the best alone.
    """
    if found[0].measure == "words":
        sentence, index = best_sentence(query, [item.passage for item in found])
        return [sentence], [index]
    least = MIN_SIMILARITY_RATIO * found[0].relevance
    indices = [i for i, f in enumerate(found) if f.measure == "similarity" and f.relevance >= least][:MAX_QUOTED]
    return [_excerpt(query, found[index].passage) for index in indices], indices


def _excerpt(query: str, passage: Passage) -> str:
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
