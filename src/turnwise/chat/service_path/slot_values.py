"""Values of slots: from facts, from the messages of the customer, and from what the conversation remembers."""

from turnwise.chat.service_path.turn import ServiceTurn
from turnwise.scenarios.answer_template import MAX_VALUE_CHARS


def slot_values(turn: ServiceTurn, slots: tuple[str, ...]) -> dict[str, str]:
    """Values of the slots that have one. Values of the customer are remembered in the state.

    A newer message comes before an older one, and the messages before the state.
    """
    definition = turn.definition
    values = {name: value for name, value in definition.fact_values(turn.language).items() if name in slots}
    for name in slots:
        slot = definition.slots.get(name)
        if name in values or slot is None:
            continue
        value = slot_value(turn, name)
        if value is not None:
            values[name] = turn.state.slots[name] = value
    return values


def slot_value(turn: ServiceTurn, name: str) -> str | None:
    """The value of a slot that the customer gives; None if there is none."""
    slot = turn.definition.slots[name]
    texts = [message.content for message in reversed(turn.messages) if message.role == "user"]
    for text in texts:
        if (value := slot.read(text, turn.language, turn.default_language)) is not None:
            return value
        if slot.names_several(text):
            return None
    if slot.is_free_text and turn.state.pending_slot == name:
        return " ".join(turn.message.split())[:MAX_VALUE_CHARS] or None
    return turn.state.slots.get(name)
