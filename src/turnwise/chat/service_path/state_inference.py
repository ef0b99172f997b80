"""Reads the state of a conversation from its messages, for conversations that are not stored.

The questions of the service are texts of the scenario, so the last answer tells what was asked.
"""

import re
from collections.abc import Sequence

from turnwise.chat.service_path.clarification import BETWEEN_TEXTS, OPEN_TEXTS
from turnwise.chat.service_path.conversation_state import ConversationState
from turnwise.chat.service_path.intent_labels import intent_labels
from turnwise.chat.service_path.language import detect_language
from turnwise.core.messages import Message
from turnwise.scenarios.definition import ScenarioDefinition


def infer_state(definition: ScenarioDefinition, messages: Sequence[Message]) -> ConversationState:
    """The state before the last message."""
    state, settings = ConversationState(), definition.settings
    for message in messages[:-1]:
        if message.role == "user":
            default = state.language or settings.default_language
            state.language = detect_language(message.content, settings.languages, default)
    answers = [message.content.strip() for message in messages if message.role == "assistant"]
    if not answers:
        return state
    for answer in reversed(answers):
        if not _is_clarification(definition, answer):
            break
        state.clarifications += 1
    state.offered = _offered_intents(definition, answers[-1])
    for name, slot in definition.slots.items():
        if slot.ask is not None and answers[-1] in slot.ask.values():
            intents = [intent for intent, _, _, template in definition.answer_templates() if name in template.slots]
            state.pending_slot, state.pending_intent = name, intents[0] if intents else ""
            state.num_asked = sum(1 for answer in answers if answer in slot.ask.values())
    return state


def _is_clarification(definition: ScenarioDefinition, answer: str) -> bool:
    questions = [intent.question for intent in definition.intents.values() if intent.question is not None]
    clarify = definition.settings.messages.clarify
    texts = {text for question in (*questions, clarify or {}, OPEN_TEXTS) for text in question.values()}
    return answer in texts or bool(_offered_intents(definition, answer))


def _offered_intents(definition: ScenarioDefinition, answer: str) -> tuple[str, ...]:
    """The two intents of a clarifying question; empty for any other text."""
    for text in BETWEEN_TEXTS.values():
        before, between, after = text.split("{}")
        if not (answer.startswith(before) and answer.endswith(after)):
            continue
        by_label, labels = intent_labels(definition), answer[len(before) : len(answer) - len(after)]
        for separator in re.finditer(re.escape(between), labels):  # a label may contain it too
            pair = labels[: separator.start()], labels[separator.end() :]
            if all(label in by_label for label in pair):
                return tuple(by_label[label] for label in pair)
    return ()
