"""Step 8: a person takes over, with a summary of the conversation and of what was tried."""

from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.handoffs import HandoffRequest
from turnwise.scenarios.field_types import localize

NAME = "hand_off"
MAX_SUMMARY_MESSAGES = 3
MAX_MESSAGE_CHARS = 300


async def decide(turn: ServiceTurn) -> StepResult:
    """Call a person. Without a stored conversation nobody can take over, and the customer is told so."""
    if turn.kind != "hand_off":
        return StepResult("not_needed")
    turn.state.clear_question()
    reason = f"intent:{turn.intent}" if turn.intent is not None else "no_answer"
    request = handoff_request(turn, reason)
    if request is not None:
        return StepResult("opened", ServiceAnswer("hand_off", turn.notices["open"], handoff=request), reason)
    no_answer = turn.definition.settings.messages.no_answer
    texts = (
        []
        if no_answer is None or turn.intent is not None
        else [localize(no_answer, turn.language, turn.default_language)]
    )
    texts.append(turn.notices["unavailable"])
    return StepResult("unavailable", ServiceAnswer("hand_off", " ".join(texts), is_notice=True), reason)


def handoff_request(turn: ServiceTurn, reason: str) -> HandoffRequest | None:
    """The hand-off of the conversation; None if it is not stored."""
    if not turn.can_hand_off or turn.request.conversation_id is None:
        return None
    notices = {kind: text for kind, text in turn.notices.items() if kind not in ("wait", "unavailable")}
    return HandoffRequest(
        turn.request.conversation_id, reason, summarize(turn),
        (*turn.state.attempts, *turn.failed), turn.language, notices,
    )  # fmt: skip


def summarize(turn: ServiceTurn) -> str:
    """What a person needs to know: the customer's first and last messages, the intent and the values of slots."""
    texts = [message.content for message in turn.messages if message.role == "user"]
    chosen = texts if len(texts) <= MAX_SUMMARY_MESSAGES else [texts[0], *texts[1 - MAX_SUMMARY_MESSAGES :]]
    lines = [f"“{_shorten(text)}”" for text in chosen]
    if turn.prediction is not None and turn.prediction.scores:
        best = turn.prediction.scores[0]
        lines.append(f"intent: {best.intent} ({best.probability:.0%})")
    lines += [f"{slot}: {value}" for slot, value in turn.state.slots.items()]
    return "\n".join(lines)


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE_CHARS else f"{line[: MAX_MESSAGE_CHARS - 1]}…"
