"""The model card of a finished run: what it was made from, how, and what that came to."""

from turnwise.training.recipe import Recipe
from turnwise.training.report import Result, perplexity


def model_card(recipe: Recipe, result: Result, *, parameters: int, train_tokens: int) -> str:
    """Markdown with the front matter that model hubs read. A licence is the owner's to add."""
    base = recipe.model.source or "random weights"
    lines = [
        "---",
        "pipeline_tag: text-generation",
        "tags: [chat, turnwise]",
        "---",
        "",
        f"# {recipe.out.rstrip('/').rsplit('/', 1)[-1]}",
        "",
        f"Made with Turnwise from {base} by `{recipe.objective}`; {parameters:,} parameters. `recipe.yaml` beside this",
        "file says everything that decided the run, `metrics.jsonl` and `loss.png` show how it went.",
        "",
        "## Data",
        "",
        *(f"- `{source.path}`" for source in recipe.data.train),
        "",
        f"{train_tokens:,} tokens an epoch; {result.useful_tokens:,} tokens seen in {result.steps} steps, "
        f"{result.seconds:.0f} s of training. "
        + ("Validation stopped improving, so it stopped early. " if result.stopped_early else "")
        + f"Weights are from step {result.best_step}.",
        "",
        "## Held-out perplexity per token",
        "",
        "| data | before | after |",
        "| --- | --- | --- |",
        *_rows(result),
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


def _rows(result: Result) -> list[str]:
    found = (
        ("validation", result.valid_before, result.valid_after),
        ("test", result.test_before, result.test_after),
    )
    rows = [
        f"| {name} | {perplexity(before):.2f} | {perplexity(after):.2f} |"
        for name, before, after in found
        if before is not None and after is not None
    ]
    return rows or ["| none was given | | |"]


def _line(text: str) -> str:
    """A text on one line, in which nothing is markup of the card's."""
    return " ".join(text.split()).replace("*", "\\*").replace("<", "&lt;").replace("|", "\\|")
