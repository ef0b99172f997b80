"""The last step without a scenario: a sentence that the documents have no answer."""

from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.scenarios.field_types import localize

NAME = "no_answer"


async def decide(turn: ServiceTurn) -> StepResult:
    """Say that the documents have no answer."""
    texts = turn.definition.settings.messages.no_answer
    assert texts is not None, "the scenario of this step has the sentence"
    return StepResult("no_answer", ServiceAnswer("no_answer", localize(texts, turn.language, turn.default_language)))
