"""Step 1, always: a message that a safety line recognises is answered word for word before anything else.

Phrases are tried first, then the classifier of the scenario, with vectors of the embedding model if one is served.
It is said even while a person speaks with the customer: an emergency must not wait for the person to read it.
"""

import asyncio
import logging
from dataclasses import replace

from turnwise.chat.service_path.language import detect_language
from turnwise.chat.service_path.logistic_head import Floats
from turnwise.chat.service_path.person import handoff_request
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.errors import TurnwiseError
from turnwise.core.service_report import ServiceDecision, ServiceReport
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.field_types import localize
from turnwise.scenarios.safety_matching import SafetyMatch

NAME = "safety_line"
DECISION_PREFIX = "safety:"
MAX_WAIT_SECONDS = 1.0  # for the embedding model and other resources; then words decide


log = logging.getLogger("turnwise.chat")


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer with the safety line of the message: outcome `match` by a phrase, `classified` by the classifier."""
    definition, message = turn.definition, turn.message
    result = _by_phrase(definition, message, turn.language)
    if result.answer is None:
        result = _by_classifier(definition, message, turn.language, await _window_vectors(turn))
    return result if result.answer is None else _call_person(turn, result)


def _call_person(turn: ServiceTurn, result: StepResult) -> StepResult:
    """The result with a request for a person, if the line asks for one and nobody has been called yet."""
    assert result.answer is not None
    turn.state.clear_question()
    if not turn.definition.safety[result.detail].call_person or turn.is_handed_off:
        return result
    request = handoff_request(turn, result.answer.decision)
    return replace(result, answer=replace(result.answer, handoff=request))


def decide_alone(turn: ServiceTurn, *, by_classifier: bool) -> tuple[ServiceAnswer, tuple[ServiceDecision, ...]] | None:
    """The line of a message without an embedding model, and the decision; None if no line matches.

    Args:
        turn: the turn; its resources may be missing.
        by_classifier: the classifier decides too, by the words; else phrases alone.
    """
    result = _by_phrase(turn.definition, turn.message, turn.language)
    if result.answer is None and by_classifier:
        result = _by_classifier(turn.definition, turn.message, turn.language)
    if result.answer is None:
        return None
    result = _call_person(turn, result)
    assert result.answer is not None
    decision = ServiceDecision(NAME, result.outcome, result.detail, result.score, result.threshold)
    return result.answer, (decision,)


def answer_alone(definition: ScenarioDefinition, message: str) -> tuple[ServiceAnswer, ServiceReport] | None:
    """The line for a message whose conversation cannot be read, and its report; None if no line matches.

    It needs neither the conversation nor a model.
    """
    settings = definition.settings
    language = detect_language(message, settings.languages, settings.default_language)
    result = _by_phrase(definition, message, language)
    if result.answer is None:
        result = _by_classifier(definition, message, language)
    if result.answer is None:
        return None
    decision = ServiceDecision(NAME, result.outcome, result.detail, result.score, result.threshold)
    return result.answer, ServiceReport(definition.name, language, result.answer.decision, (decision,))


def _by_phrase(definition: ScenarioDefinition, message: str, language: str) -> StepResult:
    matched = definition.match_safety_phrases(message)
    if matched is None:
        return StepResult("none")
    return StepResult("match", _answer(definition, matched, language), matched.name)


def _by_classifier(
    definition: ScenarioDefinition, message: str, language: str, vectors_WD: Floats | None = None
) -> StepResult:
    matched, prediction = definition.classify_safety(message, vectors_WD)
    score = None if prediction is None else prediction.probability
    threshold = None if prediction is None else prediction.threshold
    if matched is None:
        return StepResult("none", score=score, threshold=threshold)
    return StepResult("classified", _answer(definition, matched, language), matched.name, score, threshold)


def _answer(definition: ScenarioDefinition, matched: SafetyMatch, language: str) -> ServiceAnswer:
    text = localize(matched.line.say, language, definition.settings.default_language)
    return ServiceAnswer(f"{DECISION_PREFIX}{matched.name}", text)


async def _window_vectors(turn: ServiceTurn) -> Floats | None:
    """Vectors of the message's windows; None without an embedding model, or if it fails."""
    if turn.definition.safety_classifier is None or turn.safety_encoder is None:
        return None
    windows = turn.definition.safety_windows(turn.message)
    if not windows:
        return None
    try:
        return await asyncio.wait_for(turn.safety_encoder.encode(windows), MAX_WAIT_SECONDS)
    except (TurnwiseError, TimeoutError) as error:  # an emergency must not wait for a model that is busy
        log.warning("The embedding model failed; emergencies are recognised without it: %s", type(error).__name__)
        return None
