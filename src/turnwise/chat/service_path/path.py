"""The order of the decision steps, and the run through them."""

import time
from collections.abc import Sequence
from types import ModuleType
from typing import cast

from turnwise.chat.service_path import (
    clarification,
    generation,
    grounded_answer,
    handoff_state,
    intent,
    person,
    refusal,
    safety_line,
    template_answer,
)
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceStep, ServiceTurn
from turnwise.core.service_report import ServiceDecision

STEPS: tuple[ModuleType, ...] = (
    safety_line, handoff_state, refusal, intent, template_answer, grounded_answer, clarification, person, generation,
)  # fmt: skip


async def run_steps(
    turn: ServiceTurn, steps: Sequence[ModuleType] = STEPS
) -> tuple[ServiceAnswer, tuple[ServiceDecision, ...]]:
    """Run the steps until one answers. Returns the answer and the decisions of all steps that ran."""
    decisions: list[ServiceDecision] = []
    for module in steps:
        step, started = cast(ServiceStep, module), time.perf_counter()
        result = await step.decide(turn)
        milliseconds = round(1000 * (time.perf_counter() - started), 3)
        score = None if result.score is None else round(float(result.score), 4)
        threshold = None if result.threshold is None else round(float(result.threshold), 4)
        decisions.append(
            ServiceDecision(step.NAME, result.outcome, result.detail, score, threshold, milliseconds, result.classifier)
        )
        if result.answer is not None:
            return result.answer, tuple(decisions)
    raise AssertionError("the last step answers")
