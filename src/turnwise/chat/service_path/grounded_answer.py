"""Step 6: an answer from the documents, with citations.

The model answers from the passages. If it says anything that they do not support, or if the scenario says so, the
passages are quoted instead, so every answer of this step cites at least one passage or fact.
"""

from collections.abc import Sequence
from dataclasses import replace

from turnwise.chat.grounding import MAX_PASSAGES, format_passages
from turnwise.chat.service_path.fact_evidence import fact_evidence
from turnwise.chat.service_path.generation import prompt_messages
from turnwise.chat.service_path.passage_finders import Measure, ScoredPassage, word_query
from turnwise.chat.service_path.quotations import quote_passages
from turnwise.chat.service_path.support_check import check_support, cite
from turnwise.chat.service_path.text_evidence import count_words
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.chat_response import Usage
from turnwise.core.errors import ContextLengthExceeded, TemplateError
from turnwise.core.messages import Message

NAME = "grounded_answer"


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer from the documents if the intent asks for it, or if no intent is certain and a passage fits well."""
    if turn.kind not in ("knowledge", None):
        return StepResult("not_needed")
    if turn.finder is None:
        return _unanswered(turn, StepResult("no_documents"))
    if turn.kind is None and not count_words(turn.message):
        return StepResult("no_passage")  # such as "?", which is similar to anything
    messages = turn.customer_messages
    candidates = await turn.finder.find(messages, MAX_PASSAGES)
    best = max(candidates, key=lambda item: item.relevance / _threshold(turn, item.measure), default=None)
    if best is None:
        return _unanswered(turn, StepResult("no_passage"))
    threshold = _threshold(turn, best.measure)
    if not best.relevance >= threshold:  # also if it is not a number
        return _unanswered(turn, StepResult("no_passage", score=best.relevance, threshold=threshold))
    turn.state.clear_question()
    return await _answer(turn, word_query(messages), candidates, best.measure)


def _threshold(turn: ServiceTurn, measure: Measure) -> float:
    """The smallest relevance that suffices; half of it if the intent is one that documents answer."""
    threshold = turn.thresholds.retrieval if measure == "words" else turn.thresholds.similarity
    return max(threshold if turn.kind is None else threshold / 2, 1e-6)


def _unanswered(turn: ServiceTurn, result: StepResult) -> StepResult:
    if turn.kind == "knowledge":
        turn.failed.append("knowledge")
        turn.kind = "hand_off"
    return result


async def _answer(turn: ServiceTurn, query: str, candidates: Sequence[ScoredPassage], measure: Measure) -> StepResult:
    threshold = _threshold(turn, measure)
    quotable = [item for item in candidates if item.measure == measure and item.relevance >= threshold]
    if turn.definition.settings.document_answers == "quote":
        return StepResult("quoted", quote_passages(query, quotable))
    passages, originals = [item.passage for item in candidates], [item.original for item in candidates]
    question = Message("user", f"{format_passages(passages)}\n\n{turn.message}")
    text, usage = "", Usage(0, 0)
    try:
        response = await turn.model.reply(turn.model_request(prompt_messages(turn, (*turn.messages[:-1], question))))
    except (ContextLengthExceeded, TemplateError):  # too long for the model, or a text that its template cannot show
        pass
    else:
        text, usage = response.text.strip() if response.finish_reason == "stop" else "", response.usage
    facts = fact_evidence(turn.definition, turn.language)
    support = check_support(text, passages, facts, turn.thresholds.support)
    if support.is_supported:
        sources = [*originals, *(fact.passage for fact in facts)]
        cited, citations = cite(support.sentences, support.passages, sources)
        answer = ServiceAnswer("knowledge", cited, citations, usage)
        return StepResult("supported", answer, score=support.score, threshold=turn.thresholds.support)
    answer = replace(quote_passages(query, quotable), usage=usage)
    return StepResult("extracted", answer, score=support.score if text else 0.0, threshold=turn.thresholds.support)
