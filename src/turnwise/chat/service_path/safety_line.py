"""Step 1, always: a message that a safety line recognises is answered word for word before anything else.

Phrases are tried first, then the classifier of the scenario, with vectors of the embedding model if one is served.
It is said even while a person speaks with the customer: an emergency must not wait for the person to read it.
"""

import logging

from turnwise.chat.service_path.logistic_head import Floats
from turnwise.chat.service_path.person import handoff_request
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.errors import TurnwiseError
from turnwise.scenarios.field_types import localize

NAME = "safety_line"


log = logging.getLogger("turnwise.chat")


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer with the safety line of the message: outcome `match` by a phrase, `classified` by the classifier."""
    definition, outcome = turn.definition, "match"
    matched, prediction = definition.match_safety_phrases(turn.message), None
    if matched is None:
        outcome = "classified"
        matched, prediction = definition.classify_safety(turn.message, await _window_vectors(turn))
    score = None if prediction is None else prediction.probability
    threshold = None if prediction is None else prediction.threshold
    if matched is None:
        return StepResult("none", score=score, threshold=threshold)
    name, line = matched.name, matched.line
    turn.state.clear_question()
    text = localize(line.say, turn.language, turn.default_language)
    request = handoff_request(turn, f"safety:{name}") if line.call_person and not turn.is_handed_off else None
    if request is not None:
        text = f"{text}\n\n{turn.notices['open']}"
    return StepResult(outcome, ServiceAnswer(f"safety:{name}", text, handoff=request), name, score, threshold)


async def _window_vectors(turn: ServiceTurn) -> Floats | None:
    """Vectors of the message's windows; None without an embedding model, or if it fails."""
    if turn.definition.safety_classifier is None or turn.safety_encoder is None:
        return None
    windows = turn.definition.safety_windows(turn.message)
    if not windows:
        return None
    try:
        return await turn.safety_encoder.encode(windows)
    except TurnwiseError as error:  # an emergency must not wait for a model that is busy
        log.warning("The embedding model failed; emergencies are recognised without it: %s", type(error).__name__)
        return None
