"""Step 1, always: a message that a safety line recognises is answered word for word before anything else.

It is said even while a person speaks with the customer: an emergency must not wait for the person to read it.
"""

from dataclasses import replace

from turnwise.chat.service_path.language import detect_language
from turnwise.chat.service_path.person import handoff_request
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.service_report import ServiceDecision, ServiceReport
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.field_types import localize

NAME = "safety_line"
DECISION_PREFIX = "safety:"


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer with the first safety line that matches the message."""
    result = match_line(turn.definition, turn.message, turn.language)
    if result.answer is None:
        return result
    turn.state.clear_question()
    line = turn.definition.safety[result.detail]
    if not line.call_person or turn.is_handed_off:
        return result
    request = handoff_request(turn, result.answer.decision)
    return replace(result, answer=replace(result.answer, handoff=request))


def answer_alone(definition: ScenarioDefinition, message: str) -> tuple[ServiceAnswer, ServiceReport] | None:
    """The line for a message whose conversation cannot be read, and its report; None if no line matches."""
    settings = definition.settings
    language = detect_language(message, settings.languages, settings.default_language)
    result = match_line(definition, message, language)
    if result.answer is None:
        return None
    decision = ServiceDecision(NAME, result.outcome, result.detail)
    return result.answer, ServiceReport(definition.name, language, result.answer.decision, (decision,))


def match_line(definition: ScenarioDefinition, message: str, language: str) -> StepResult:
    """The safety line of a message, by the definition alone: it needs neither the conversation nor a model."""
    matched = definition.match_safety(message)
    if matched is None:
        return StepResult("none")
    name, line = matched
    text = localize(line.say, language, definition.settings.default_language)
    return StepResult("match", ServiceAnswer(f"{DECISION_PREFIX}{name}", text), name)
