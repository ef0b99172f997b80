"""Step 7: a question back: that of the intent, or which of the two likeliest intents is meant."""

from turnwise.chat.service_path.intent_labels import intent_label
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.handoff_notices import DEFAULT_LANGUAGE
from turnwise.scenarios.field_types import localize

NAME = "clarification"
BETWEEN_TEXTS = {"en": "Do you mean: {}, or {}?", "zh": "您是想问：{}，还是{}？"}
OPEN_TEXTS = {"en": "Could you tell me a little more about what you need?", "zh": "可以再具体说一下您的需求吗？"}


async def decide(turn: ServiceTurn) -> StepResult:
    """Ask back if the intent says so, or if two intents together are likely enough."""
    limit = turn.definition.settings.limits.max_clarifications
    if turn.kind not in ("clarify", None):
        return StepResult("not_needed")
    if turn.state.clarifications >= limit:
        turn.failed.append("clarify")
        turn.kind = "hand_off"
        return StepResult("limit", score=turn.state.clarifications, threshold=limit)
    if turn.kind == "clarify":
        return _ask(turn, "asked", _own_question(turn), ())
    assert turn.prediction is not None
    intents = turn.definition.intents
    likeliest = [s for s in turn.prediction.scores if s.intent in intents and intents[s.intent].can_be_offered][:2]
    total, threshold = sum(score.probability for score in likeliest), turn.thresholds.clarify
    if len(likeliest) == 2 and total >= threshold:
        offered = tuple(score.intent for score in likeliest)
        question = localize(BETWEEN_TEXTS, turn.language, DEFAULT_LANGUAGE).format(
            *(intent_label(turn.definition, name, turn.language) for name in offered)
        )
        return _ask(turn, "offered", question, offered, total, threshold)
    turn.kind = turn.definition.settings.unmatched
    if turn.kind == "knowledge":  # the step before this one has looked
        turn.kind = "hand_off"
        turn.failed.append("knowledge")
    if turn.kind == "clarify":
        return _ask(turn, "asked", _own_question(turn), (), total, threshold)
    return StepResult("unlikely", detail=turn.kind, score=total, threshold=threshold)


def _ask(
    turn: ServiceTurn, outcome: str, question: str, offered: tuple[str, ...], score: float | None = None,
    threshold: float | None = None,
) -> StepResult:  # fmt: skip
    turn.state.clear_question()
    turn.state.offered = offered
    return StepResult(outcome, ServiceAnswer("clarify", question), turn.intent or "", score, threshold)


def _own_question(turn: ServiceTurn) -> str:
    question = None if turn.intent is None else turn.definition.intents[turn.intent].question
    question = question or turn.definition.settings.messages.clarify
    return localize(question or OPEN_TEXTS, turn.language, turn.default_language)
