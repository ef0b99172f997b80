"""Plot of a hyperparameter search."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot_hpo(
    trials: Sequence[Mapping[str, Any]],
    importances: Mapping[str, float],
    best: Mapping[str, Any],
    path: Path,
    *,
    title: str,
) -> None:
    """Plot the importance of each hyperparameter, and the loss of all trials over its values, as PNG.

    Args:
        trials: hyperparameters and `loss` of every trial; the loss is None if the trial was pruned.
        importances: share of the variance of the losses, by hyperparameter.
        best: hyperparameters of the best trial.
        path: file to write.
        title: title of the figure.
    """
    from matplotlib.figure import Figure

    names = list(best)
    figure = Figure(figsize=(3 * (len(names) + 1), 3.2), layout="constrained")
    panels = figure.subplots(1, len(names) + 1)
    by_importance = sorted(importances, key=lambda name: importances[name])
    panels[0].barh(by_importance, [importances[name] for name in by_importance], color="#1f5fa8")
    panels[0].set(title="importance", xlabel="share of the variance")
    complete = [trial for trial in trials if trial["loss"] is not None]
    losses = [trial["loss"] for trial in complete]
    for panel, name in zip(panels[1:], names, strict=True):
        is_numeric = name == "learning_rate"
        values = [trial[name] if is_numeric else str(trial[name]) for trial in complete]
        panel.scatter(values, losses, color="#9db7d5")
        panel.scatter([best[name] if is_numeric else str(best[name])], [min(losses)], color="#c8551b", label="best")
        panel.set(title=name, ylabel="validation loss")
        if is_numeric:
            panel.set_xscale("log")
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
