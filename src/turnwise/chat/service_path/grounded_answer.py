"""Step 6: an answer from the documents, with citations.

The model answers from the passages. If it says anything that they do not support, the best sentence of the passages is
the answer instead, so every answer of this step cites at least one passage or fact.
"""

import asyncio
import math
import re
from collections.abc import Sequence

from turnwise.chat.grounding import MAX_PASSAGES, format_passages
from turnwise.chat.service_path.fact_evidence import fact_evidence
from turnwise.chat.service_path.generation import prompt_messages
from turnwise.chat.service_path.passage_filter import filter_passages
from turnwise.chat.service_path.support_check import check_support, cite
from turnwise.chat.service_path.text_evidence import content_words, numbers, overlap, sentences
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.chat_response import Usage
from turnwise.core.errors import ContextLengthExceeded, TemplateError
from turnwise.core.messages import Message
from turnwise.core.retrieval import Passage, RetrievedPassage

NAME = "grounded_answer"
NUMBER_BONUS = 2.0  # about the weight of one rare word
SHORT_QUERY_WORDS = 2  # with fewer content words, the message before belongs to the question

_QUANTITY_QUESTION = re.compile(
    r"\b(?:how (?:long|much|many|often|far|old|big|tall|heavy|late|soon|fast)|when|what time|price|cost)\b"
    r"|多久|多少|多长|多大|多高|几|何时|什么时候|价格|费用",
    re.IGNORECASE,
)


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer from the documents if the intent asks for it, or if no intent is certain and a passage fits well."""
    if turn.kind not in ("knowledge", None):
        return StepResult("not_needed")
    if turn.retriever is None:
        return _unanswered(turn, StepResult("no_documents"))
    query = _query(turn)
    retrieved = filter_passages(await asyncio.to_thread(turn.retriever.search, query, MAX_PASSAGES))
    score = max((_relevance(query, item.passage) for item, _ in retrieved), default=0.0)
    threshold = turn.thresholds.retrieval / (1 if turn.kind is None else 2)
    if not retrieved or score < threshold:
        return _unanswered(turn, StepResult("no_passage", score=score, threshold=threshold))
    turn.state.clear_question()
    return await _answer(turn, query, retrieved)


def _unanswered(turn: ServiceTurn, result: StepResult) -> StepResult:
    if turn.kind == "knowledge":
        turn.failed.append("knowledge")
        turn.kind = "hand_off"
    return result


async def _answer(turn: ServiceTurn, query: str, retrieved: Sequence[tuple[RetrievedPassage, Passage]]) -> StepResult:
    shown = [item for item, _ in retrieved]
    passages, originals = [item.passage for item in shown], [original for _, original in retrieved]
    question = Message("user", f"{format_passages(shown)}\n\n{turn.message}")
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
    sentence, index = best_sentence(query, passages)
    cited, citations = cite([sentence], [index], originals)
    answer = ServiceAnswer("knowledge", cited, citations, usage)
    return StepResult("extracted", answer, score=support.score if text else 0.0, threshold=threshold)


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


def _query(turn: ServiceTurn) -> str:
    """The message, after the customer's message before it if it is very short."""
    texts = [message.content for message in turn.messages if message.role == "user"]
    if len(texts) > 1 and len(content_words(texts[-1])) < SHORT_QUERY_WORDS:
        return f"{texts[-2]}\n{texts[-1]}"
    return texts[-1]


def _relevance(query: str, passage: Passage) -> float:
    """Share of the query's content words that a passage has, with its source and headings."""
    headings = () if passage.location is None else passage.location.headings
    return overlap(query, content_words("\n".join([passage.source, *headings, passage.text])))
