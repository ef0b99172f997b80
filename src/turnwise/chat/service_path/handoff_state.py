"""Step 2: while a hand-off is open, the model is silent. A customer in the queue is told that they wait."""

from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult

NAME = "handoff_state"


async def decide(turn: ServiceTurn) -> StepResult:
    """Say nothing while a person speaks, and one sentence while nobody does."""
    if turn.handoff is None or not turn.is_handed_off:
        return StepResult("model_speaks")
    return StepResult(turn.handoff.state, silent_answer(turn.handoff.status.speaker, turn.notices["wait"]))


def silent_answer(speaker: str, wait_notice: str) -> ServiceAnswer:
    """The answer while a hand-off is open."""
    if speaker == "person":
        return ServiceAnswer("person")
    return ServiceAnswer("hand_off", wait_notice, is_notice=True)
