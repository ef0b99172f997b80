"""Step 4: what the customer wants, as an intent with a calibrated probability, and how to answer it."""

import re

from turnwise.chat.service_path.intent_classifier import IntentPrediction, IntentScore
from turnwise.chat.service_path.turn import ServiceTurn, StepResult

NAME = "intent"
_FIRST = re.compile(r"^\W*(?:the )?(?:first|1(?:st)?|former|第一|前者|1)\b|^\W*(?:第一|前者|前一)", re.IGNORECASE)
_SECOND = re.compile(r"^\W*(?:the )?(?:second|2(?:nd)?|latter|2)\b|^\W*(?:第二|后者|后一)", re.IGNORECASE)


async def decide(turn: ServiceTurn) -> StepResult:
    """Set `prediction`, `intent` and `kind`."""
    intents, state, threshold = turn.definition.intents, turn.state, turn.thresholds.intent
    turn.prediction = prediction = await turn.classifier.predict(turn.message)
    best = prediction.best
    if _answers_question(turn, is_other_intent=best.probability >= threshold and best.intent != state.pending_intent):
        turn.intent = state.pending_intent
        turn.kind = intents[turn.intent].answer
        return StepResult("continued", detail=turn.intent, score=best.probability, threshold=threshold)
    if state.offered and (chosen := _choose_offered(turn.message, state.offered, prediction, threshold)) is not None:
        best = chosen
    if best.intent in intents and best.probability >= threshold:
        turn.intent = best.intent
        turn.kind = intents[best.intent].answer
        return StepResult("confident", detail=best.intent, score=best.probability, threshold=threshold)
    if (earlier := await _continued_intent(turn)) is not None:
        turn.intent = earlier
        turn.kind = intents[earlier].answer
        return StepResult("continued", detail=earlier, score=best.probability, threshold=threshold)
    total = sum(score.probability for score in prediction.scores[:2])
    kinds = {intents[score.intent].answer for score in prediction.scores[:2] if score.intent in intents}
    if total >= turn.thresholds.clarify and kinds in ({"generate"}, {"knowledge"}):
        (turn.kind,) = kinds  # whichever of the two it is, it is answered in the same way
        return StepResult("same_answer", detail=turn.kind, score=total, threshold=turn.thresholds.clarify)
    return StepResult("uncertain", detail=best.intent, score=best.probability, threshold=threshold)


def _answers_question(turn: ServiceTurn, *, is_other_intent: bool) -> bool:
    """True if the message has the value that was asked for. Any text is a free text, unless it is another intent."""
    state, definition = turn.state, turn.definition
    if state.pending_intent not in definition.intents or state.pending_slot not in definition.slots:
        return False
    slot = definition.slots[state.pending_slot]
    if slot.is_free_text:
        return not is_other_intent
    return slot.read(turn.message, turn.language, turn.default_language) is not None


async def _continued_intent(turn: ServiceTurn) -> str | None:
    """The intent of the message before, if this one has a value of its templates: the answer to a question."""
    texts = [message.content.strip() for message in turn.messages if message.role in ("user", "assistant")]
    if len(texts) < 3:
        return None
    best = (await turn.classifier.predict(texts[-3])).best
    # A value in the message is evidence too, so half of the usual probability suffices.
    if best.probability < turn.thresholds.intent / 2 or best.intent not in turn.definition.templates:
        return None
    templates = turn.definition.templates[best.intent].values()
    names = {slot for alternatives in templates for template in alternatives for slot in template.slots}
    slots = [turn.definition.slots[name] for name in names if name in turn.definition.slots]
    has_value = any(slot.read(turn.message, turn.language, turn.default_language) is not None for slot in slots)
    return best.intent if has_value else None


def _choose_offered(
    message: str, offered: tuple[str, ...], prediction: IntentPrediction, threshold: float
) -> IntentScore | None:
    """The intent that a reply to a clarifying question chooses: by its position, or as the likelier of the offered."""
    for intent, pattern in zip(offered, (_FIRST, _SECOND), strict=False):
        if pattern.search(message):
            return IntentScore(intent, 1.0)
    scores = [score for score in prediction.scores if score.intent in offered]
    total = sum(score.probability for score in scores)
    if not scores or total < threshold / 2:
        return None
    return IntentScore(scores[0].intent, scores[0].probability / total)
