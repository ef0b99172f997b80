"""The model card (`README.md`) of a finished run."""

from turnwise.training.hooks import TrainingResult, perplexity
from turnwise.training.methods import METHODS
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe


def model_card(
    recipe: Recipe, result: TrainingResult, *, parameters: int, num_trainable: int, train_tokens: int
) -> str:
    """Return Markdown with front matter for model hubs. It names no license; the owner adds one."""
    base = recipe.model.source or "random weights"
    objective, method = OBJECTIVES.plugin_name(recipe.objective), METHODS.plugin_name(recipe.method)
    by_token = recipe.objective.UNIT == "token"
    lines = [
        "---",
        "pipeline_tag: text-generation",
        "tags: [chat, turnwise]",
        "---",
        "",
        f"# {recipe.out.rstrip('/').rsplit('/', 1)[-1]}",
        "",
        f"Made with Turnwise from {base} by `{objective}`, method `{method}`; {parameters:,} parameters, of which "
        f"{num_trainable:,} trained. `recipe.yaml` beside this",
        "file says everything that decided the run, `metrics.jsonl` and `loss.png` show how it went.",
        "",
        "## Data",
        "",
        *(f"- `{source.path}`" for source in recipe.data.train),
        *([f"- its base's own answers, {recipe.data.rehearse:.0%} of the tokens"] if recipe.data.rehearse else []),
        "",
        f"{train_tokens:,} tokens an epoch; {result.useful_tokens:,} tokens seen in {result.steps} steps, "
        f"{result.seconds:.0f} s of training. "
        + ("Validation stopped improving, so it stopped early. " if result.stopped_early else "")
        + f"Weights are from step {result.best_step}."
        + (f" {result.share:g} of the way from the base's weights was taken." if result.mixes else "")
        + (f" It went back to a checkpoint {result.rollbacks} times." if result.rollbacks else ""),
        "",
        f"## Held-out {'perplexity' if by_token else 'loss'} per {recipe.objective.UNIT}",
        "",
        "| data | before | after |",
        "| --- | --- | --- |",
        *_rows(result, by_token),
        "",
    ]
    for sample in result.samples:
        lines += [
            f"**{_line(sample.question)}**",
            "",
            f"- before: {_line(sample.before)}",
            f"- after: {_line(sample.after)}",
            "",
        ]
    lines += [
        "## Limits",
        "",
        "Nobody has judged this model but the figures above. Evaluate it on your own dialogues before use.",
    ]
    return "\n".join(lines) + "\n"


def _rows(result: TrainingResult, by_token: bool) -> list[str]:
    def format_loss(loss: float) -> str:
        return f"{perplexity(loss):.2f}" if by_token else f"{loss:.4f}"

    losses = (
        ("validation", result.valid_before, result.valid_after),
        ("test", result.test_before, result.test_after),
        ("general", result.general_before, result.general_after),
    )
    rows = [
        f"| {name} | {format_loss(before)} | {format_loss(after)} |"
        for name, before, after in losses
        if before is not None and after is not None
    ]
    return rows or ["| none was given | | |"]


def _line(text: str) -> str:
    """Return the text on one line with Markdown escaped."""
    return " ".join(text.split()).replace("*", "\\*").replace("<", "&lt;").replace("|", "\\|")
