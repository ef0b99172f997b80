"""The end of a cycle: its model becomes a version, and the decision of the gate is carried out."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.model_versions import ModelVersion, VersionState
from turnwise.improve.cycle_models import CycleModels
from turnwise.improve.journal import PROMOTED, REFUSED, Outcome
from turnwise.improve.registration import add_version
from turnwise.improve.splits import VERSION
from turnwise.improve.training_data import write_alpha


def complete_cycle(models: CycleModels, *, canary_share: float) -> None:
    """Add the version, promote it if the gate accepted it, and store the outcome.

    Args:
        models: models of the cycle; the comparison is in its journal.
        canary_share: share of the conversations that a promoted version answers first; 0: all of them at once.
    """
    journal = models.journal
    comparison = journal.result("compare")
    decision, alpha = comparison["decision"], comparison["alpha"]
    data = models.training_data(VERSION)
    write_alpha(data, alpha)
    version = add_version(
        models.library, models.model, models.interpolated(VERSION, alpha), data,
        parent=journal["first"], scorecard={"figures": comparison["figures"], "gate": decision},
        has_passed_gate=decision["has_passed"], reason=f"Cycle {journal['number']} trained it.",
    )  # fmt: skip
    outcome, reason = _promote(models, version, decision, canary_share)
    journal.complete(outcome, reason, last_step={"decide": {"version": version.number}}, version=version.number)


def _promote(
    models: CycleModels, version: ModelVersion, decision: Mapping[str, Any], canary_share: float
) -> tuple[Outcome, str]:
    """The outcome and its reason. A version is not promoted if another one serves than it was compared with."""
    if not decision["has_passed"]:
        return REFUSED, decision["reason"]
    registry = models.library.registry
    routing = registry.routing(models.model)
    if routing is not None and routing.serving.number not in (models.journal["serving"], version.number):
        return REFUSED, f"Refused: {routing.serving.reference} serves since the comparison was made."
    state: VersionState = "canary" if canary_share else "serving"
    if registry.get(models.model, version.number).state != state:
        models.library.change_state(version, state, actor="gate", reason=decision["reason"], share=canary_share)
    return PROMOTED, decision["reason"]
