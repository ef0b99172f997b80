"""The comparison of a cycle: how much of the training the new version takes, its figures, and the gate's decision.

Weights on the way from the first version to the trained ones forget less (WiSE-FT, Wortsman et al. 2022). The largest
share of the way that keeps the rules on forgetting is chosen first. It does not look at the held-out answers, which
are compared once, with this share.
"""

from collections.abc import Sequence
from typing import Any

from turnwise.core.messages import Conversation
from turnwise.evaluation.gate.decision import decide
from turnwise.evaluation.gate.rules_file import GateRules
from turnwise.evaluation.report import write_report
from turnwise.improve.comparison import HeldOut, Measurement, measure_feedback, measure_forgetting
from turnwise.improve.cycle_folder import REPORT
from turnwise.improve.cycle_gate import comparison_figures, forgetting_rules, gate_evidence
from turnwise.improve.cycle_models import CycleModels
from turnwise.improve.progress import CycleProgress
from turnwise.improve.splits import VERSION, Proof


def compare_with_serving(
    models: CycleModels,
    proofs: Sequence[Proof],
    retention: Sequence[Conversation],
    rules: GateRules,
    alphas: Sequence[float],
    *,
    num_refused: int,
    progress: CycleProgress,
) -> dict[str, Any]:
    """Choose the share of the way to the trained weights, compare, and write the report.

    Args:
        models: models of the cycle.
        proofs: models and examples of the comparison.
        retention: dialogues whose likelihood must not fall.
        rules: rules of the gate.
        alphas: shares of the way that are tried, in this order.
        num_refused: cycles since the last promotion that were compared on the held-out answers.
        progress: receives the progress.

    Returns:
        `alpha`, the `attempts` to choose it, the `decision` of the gate, and `figures` by metric; plain JSON.
    """
    alpha, forgetting, attempts = _choose_alpha(models, retention, rules, alphas, progress)
    progress.on_step("compare", "Compare on answers with feedback")
    held_out = [HeldOut(models.interpolated(proof.name, alpha), proof.test) for proof in proofs]
    feedback = measure_feedback(held_out, models.verified_serving(), on_progress=progress.on_count)
    metadata = {"model": models.model, "alpha": alpha, "serving": models.serving.reference}
    evaluation = feedback.evaluation(forgetting, metadata=metadata)
    write_report(models.journal.folder / REPORT, evaluation)
    card = evaluation.scorecard
    decision = decide(gate_evidence(card), rules, cycle=1 + num_refused)
    return {"alpha": alpha, "attempts": attempts, "decision": decision.as_dict(), "figures": comparison_figures(card)}


def _choose_alpha(
    models: CycleModels,
    retention: Sequence[Conversation],
    rules: GateRules,
    alphas: Sequence[float],
    progress: CycleProgress,
) -> tuple[float, Measurement, list[dict[str, Any]]]:
    """The first share that keeps the rules on forgetting, else the last one; its measurement; and all attempts."""
    serving, first = models.verified_serving(), models.verified_first()
    attempts: list[dict[str, Any]] = []
    for alpha in alphas:
        model = models.interpolated(VERSION, alpha)
        progress.on_step("compare", f"Measure what is forgotten at {alpha:.0%} of the way")
        forgetting = measure_forgetting(model, serving, first, retention, on_progress=progress.on_count)
        evidence = gate_evidence(forgetting.evaluation(metadata={}).scorecard)
        decision = decide(evidence, forgetting_rules(rules))
        attempts.append({"alpha": alpha, "reason": decision.reason, "has_passed": decision.has_passed})
        if decision.has_passed:
            break
    return alpha, forgetting, attempts
