"""Step 3: topics that the scenario declines, and hostile messages, which are topics too."""

from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult

NAME = "refusal"


async def decide(turn: ServiceTurn) -> StepResult:
    """Decline the first topic that the message matches."""
    matched = turn.definition.match_refusal(turn.message)
    if matched is None:
        return StepResult("none")
    topic, _ = matched
    turn.state.clear_question()
    text = turn.definition.refusal_text(topic, turn.language)
    return StepResult("match", ServiceAnswer(f"refusal:{topic}", text), topic)
