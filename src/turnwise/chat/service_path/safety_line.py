"""Step 1, always: a message that a safety line recognises is answered word for word before anything else.

It is said even while a person speaks with the customer: an emergency must not wait for the person to read it.
"""

from turnwise.chat.service_path.person import handoff_request
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.scenarios.field_types import localize

NAME = "safety_line"


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer with the first safety line that matches the message."""
    matched = turn.definition.match_safety(turn.message)
    if matched is None:
        return StepResult("none")
    name, line = matched
    turn.state.clear_question()
    text = localize(line.say, turn.language, turn.default_language)
    request = handoff_request(turn, f"safety:{name}") if line.call_person and not turn.is_handed_off else None
    if request is not None:
        text = f"{text}\n\n{turn.notices['open']}"
    return StepResult("match", ServiceAnswer(f"safety:{name}", text, handoff=request), name)
