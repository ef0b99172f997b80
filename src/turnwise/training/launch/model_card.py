"""The model card (`README.md`) of a finished run."""

from turnwise.training.hooks import TrainingResult, perplexity
from turnwise.training.methods import METHODS
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe

# Tasks as model hubs name them; of all other objectives: text generation.
PIPELINE_TAGS = {"token_classification": "token-classification", "sequence_classification": "text-classification"}
LABELS = {
    "distinct_2": "distinct word pairs (distinct-2)",
    "self_bleu": "self-BLEU, 0 to 100",
    "mean_words": "mean length in words",
    "gate_pass": "share that passes all gates",
    "chrf": "chrF against the human replies, 0 to 100",
    "pair_accuracy": "pairs of a human and a sampled reply that the discriminator orders correctly",
}  # of the metrics of sampled replies


def model_card(
    recipe: Recipe, result: TrainingResult, *, parameters: int, num_trainable: int, train_tokens: int
) -> str:
    """Return Markdown with front matter for model hubs. It names no license; the owner adds one."""
    base = recipe.model.source or "random weights"
    objective, method = OBJECTIVES.plugin_name(recipe.objective), METHODS.plugin_name(recipe.method)
    by_token = recipe.objective.UNIT == "token"
    lines = [
        "---",
        f"pipeline_tag: {PIPELINE_TAGS.get(objective, 'text-generation')}",
        f"tags: [{'chat' if objective not in PIPELINE_TAGS else 'classification'}, turnwise]",
        "---",
        "",
        f"# {recipe.out.rstrip('/').rsplit('/', 1)[-1]}",
        "",
        f"Trained with Turnwise from {base} with the objective `{objective}` and the method `{method}`. It has "
        f"{parameters:,} parameters, of which {num_trainable:,} were trained. `recipe.yaml` in this folder",
        "lists all settings of the run; `metrics.jsonl` and `loss.png` show its losses.",
        "",
        "## Data",
        "",
        *(f"- `{source.path}`" for source in recipe.data.train),
        *(
            [f"- replies of the base model (self-distillation replay), {recipe.data.replay_ratio:.0%} of the tokens"]
            if recipe.data.replay_ratio
            else []
        ),
        "",
        f"{train_tokens:,} tokens per epoch; {result.useful_tokens:,} tokens in {result.steps} steps, "
        f"{result.seconds:.0f} s of training. "
        + ("The validation loss stopped improving, so training stopped early. " if result.stopped_early else "")
        + f"The weights are from step {result.best_step}."
        + (f" They are interpolated with the base weights (α = {result.alpha:g})." if result.interpolations else "")
        + (f" A guard ended the run: {result.stop_reason}" if result.stop_reason else "")
        + (f" Loss spikes caused {result.rollbacks} rollbacks to a checkpoint." if result.rollbacks else ""),
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
        *_reply_lines(result),
        "## Limits",
        "",
        "The figures above are the only evaluation. Evaluate the model on your own dialogues before use.",
    ]
    return "\n".join(lines) + "\n"


def _rows(result: TrainingResult, by_token: bool) -> list[str]:
    def format_loss(loss: float) -> str:
        return f"{perplexity(loss):.2f}" if by_token else f"{loss:.4f}"

    losses = (
        ("validation", result.valid_before, result.valid_after),
        ("test", result.test_before, result.test_after),
        ("retention", result.retention_before, result.retention_after),
    )
    rows = [
        f"| {name} | {format_loss(before)} | {format_loss(after)} |"
        for name, before, after in losses
        if before is not None and after is not None
    ]
    return rows or ["| no held-out data | | |"]


def _reply_lines(result: TrainingResult) -> list[str]:
    """A table of what the guards watch, with the other metrics of the replies; empty without sampled replies."""
    before, after = result.reply_metrics_before, result.extra_metrics
    if not before:
        return []
    return [
        "## Sampled replies to held-out prompts",
        "",
        "Guards end a run in which these figures leave their limits.",
        "",
        "| figure | before | after |",
        "| --- | --- | --- |",
        *(f"| {LABELS.get(name, name)} | {value:.3f} | {after[name]:.3f} |" for name, value in before.items()),
        "",
    ]


def _line(text: str) -> str:
    """Return the text on one line with Markdown escaped."""
    return " ".join(text.split()).replace("*", "\\*").replace("<", "&lt;").replace("|", "\\|")
