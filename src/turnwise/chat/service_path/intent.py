"""Step 4: what the customer wants, as an intent with a calibrated probability, and how to answer it."""

from dataclasses import replace

from turnwise.chat.service_path.intent_classifier import IntentScore
from turnwise.chat.service_path.intent_labels import intent_label
from turnwise.chat.service_path.offered_choice import choose_offered
from turnwise.chat.service_path.text_evidence import count_words
from turnwise.chat.service_path.turn import ServiceTurn, StepResult

NAME = "intent"
MAX_CHOICE_WORDS = 5  # of a message that is read as a choice although another intent is likely


async def decide(turn: ServiceTurn) -> StepResult:
    """Set `prediction`, `intent` and `kind`."""
    result = await _decide(turn)
    return result if turn.classifier_state == "fitted" else replace(result, classifier=turn.classifier_state)


async def _decide(turn: ServiceTurn) -> StepResult:
    intents, state, threshold = turn.definition.intents, turn.state, turn.thresholds.intent
    turn.prediction = prediction = await turn.classifier.predict(turn.message)
    best = prediction.best
    if _answers_question(turn, is_other_intent=best.probability >= threshold and best.intent != state.pending_intent):
        turn.intent = state.pending_intent
        turn.kind = intents[turn.intent].answer
        return StepResult("continued", detail=turn.intent, score=best.probability, threshold=threshold)
    if (chosen := _chosen_intent(turn)) is not None:
        best = IntentScore(chosen, 1.0)
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
    if is_other_intent and (slot.is_free_text or (slot.choices and count_words(turn.message) > MAX_CHOICE_WORDS)):
        return False  # such as "I have a big problem, get me a person" after "Which size?"
    if slot.is_free_text:
        return True
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


def _chosen_intent(turn: ServiceTurn) -> str | None:
    """The intent that a reply to a clarifying question chooses; None if the message is not a choice."""
    definition, offered = turn.definition, [name for name in turn.state.offered if name in turn.definition.intents]
    if len(offered) != len(turn.state.offered):
        return None  # an edit has removed one, so the positions are not those of the question
    for language in dict.fromkeys((turn.language, *definition.settings.languages)):
        index = choose_offered(turn.message, [intent_label(definition, name, language) for name in offered])
        if index is not None:
            return offered[index]
    return None
