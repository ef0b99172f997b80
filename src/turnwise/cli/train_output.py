"""Output of `turnwise train` on the terminal: data, preflight, progress and result."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from turnwise.cli.console_output import one_line
from turnwise.cli.progress_bars import progress_bar
from turnwise.core.plurals import pluralize
from turnwise.training.hooks import ReplySample, StepReport, TrainerHook, TrainingResult, ValidationReport, perplexity
from turnwise.training.loggers import ProgressBarHook

if TYPE_CHECKING:
    from turnwise.training.examples.dataset import DatasetSplits
    from turnwise.training.launch.preflight import PreflightReport
    from turnwise.training.recipe import Recipe

MAX_EXAMPLE_CHARS = 400  # per printed text


class ConsoleHook(TrainerHook):
    """Prints the events of a run. A context manager, so that an error also removes the progress bars."""

    def __init__(self, console: Any, recipe: "Recipe") -> None:
        self._console = console
        self._training = ProgressBarHook(console, unit=recipe.objective.UNIT)
        self._stack = ExitStack()

    def __enter__(self) -> "ConsoleHook":
        self._console.print("Reading the data …")
        self._on_replay = self._stack.enter_context(progress_bar(self._console, "replies for replay"))
        self._on_reference = self._stack.enter_context(progress_bar(self._console, "replies of the reference model"))
        self._on_warm_up = self._stack.enter_context(progress_bar(self._console, "steps of the discriminator"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def on_replay(self, count: int, total: int) -> None:
        """Advance the bar of the replay replies."""
        self._on_replay(count, total)

    def on_data(self, data: "DatasetSplits") -> None:
        """Print the size of each split."""
        self._console.print(f"{describe_data(data)}\nMeasuring speed and memory …")

    def on_reference(self, count: int, total: int) -> None:
        """Advance the bar of the reference model."""
        self._on_reference(count, total)

    def on_warm_up(self, what: str, count: int, total: int) -> None:  # noqa: ARG002
        """Advance the bar of what is trained before the first step."""
        self._on_warm_up(count, total)

    def on_preflight(self, recipe: "Recipe", report: "PreflightReport") -> None:
        """Print two examples and the expected time and memory."""
        print_preflight(self._console, recipe, report)

    def on_prompt_scored(self, number: int, loss: float) -> None:
        """Print the loss of a prompt candidate."""
        self._console.print(f"prompt {number}: validation loss {loss:.4f}")

    def on_train_begin(self, *, total_steps: int, step: int) -> None:
        """Show the progress bar."""
        self._training.on_train_begin(total_steps=total_steps, step=step)

    def on_step_end(self, report: StepReport) -> None:
        """Advance the progress bar."""
        self._training.on_step_end(report)

    def on_evaluate(self, report: ValidationReport) -> None:
        """Print the validation loss."""
        self._training.on_evaluate(report)

    def on_train_end(self) -> None:
        """Stop the progress bar."""
        self._training.on_train_end()


def describe_data(data: "DatasetSplits") -> str:
    """Sizes of the splits, and what is skipped or truncated."""
    parts = [
        f"{name} {pluralize(len(split), 'example')}, {pluralize(split.tokens, 'token')}"
        for name, split in (("train", data.train), ("validation", data.valid), ("test", data.test))
        if len(split)
    ]
    if data.num_replayed:
        parts[0] += f", {data.num_replayed:,} of the examples from replay"
    if not len(data.valid):
        parts.append("no validation data, so no early stopping")
    if data.num_bad_rows:
        parts.append(f"{pluralize(data.num_bad_rows, 'bad row')} skipped")
    parts.extend(data.truncation.sentences(data.train.context.length))
    return "; ".join(parts)


def print_preflight(console: Any, recipe: "Recipe", report: "PreflightReport") -> None:
    """Print the first examples with their targets in green, and the size, speed and memory of the run."""
    for example in report.examples:
        text = Text()
        for span in example:
            text.append(one_line(span.text, MAX_EXAMPLE_CHARS), style="green" if span.is_target else "dim")
        console.print(text)
    if report.examples:
        console.print(Text.assemble("(", ("green", "green"), ": tokens that are trained on)"))
    samples_replies = recipe.objective.samples_replies
    training = recipe.training
    steps = training.max_steps or max(1, round(report.rows_per_epoch * training.epochs / training.batch_size))
    seconds = report.seconds(steps, training.batch_size)
    facts = (
        f"{report.num_trainable:,} of {report.num_parameters:,} parameters are trained",
        f"{pluralize(steps, 'step')} of {training.batch_size * report.tokens_per_row:,.0f} tokens, "
        f"sequences of up to {training.max_seq_len:,} tokens, batches {report.packing_efficiency:.0%} full",
        f"learning rate {training.learning_rate:g}",
        f"{report.tokens_per_second:,.0f} tokens/s, about {_duration(seconds)} without validation"
        + (" and without sampling replies" if samples_replies else ""),
        f"about {report.peak_memory / 1e9:.1f} GB of memory"
        + (" without the engine that samples and a discriminator" if samples_replies else ""),
    )
    console.print("; ".join(facts))


def print_result(console: Any, recipe: "Recipe", result: TrainingResult) -> None:
    """Print sample replies, losses before and after training, and where the model is."""
    for sample in result.samples:
        console.print(_before_and_after(sample), markup=False)
    _print_losses(console, recipe.objective.UNIT, result)
    out = escape(recipe.out)
    if recipe.method.TRAINS_WEIGHTS:
        early = "stopped early, " if result.stopped_early else ""
        console.print(
            f"{early}{pluralize(result.steps, 'step')} in {result.seconds:.0f} s "
            f"({result.useful_tokens / result.seconds:,.0f} tokens/s); best weights from step {result.best_step}"
        )
        if result.stop_reason is not None:
            console.print(f"A guard ended the run: {result.stop_reason}", markup=False)
        if result.rounding_error is not None:
            console.print(
                f"Saved as {result.saved_as}, the type of the base model: rounding changes the update by "
                f"{result.rounding_error:.1%}. --save-dtype float32 avoids this and needs twice the space.",
                markup=False,
            )
        console.print(f"The model is in [bold]{out}[/bold], with recipe.yaml, metrics.jsonl and loss.png.")
    else:
        console.print(f"No weight was trained ({result.seconds:.0f} s); the prompt is in the model's chat template.")
        console.print(f"The model is in [bold]{out}[/bold], with recipe.yaml.")
    if "encoder" not in recipe.objective.MODEL_KINDS:
        console.print(f"Chat with it: turnwise chat {out}")


def _print_losses(console: Any, unit: str, result: TrainingResult) -> None:
    for name, before, after in (
        ("validation", result.valid_before, result.valid_after),
        ("test", result.test_before, result.test_after),
        ("retention", result.retention_before, result.retention_after),
    ):
        if before is None or after is None:
            continue
        if unit == "token":
            console.print(
                f"{name} perplexity [bold]{perplexity(before):.2f} → {perplexity(after):.2f}[/bold] "
                f"(cross-entropy {before:.3f} → {after:.3f} per token)"
            )
        else:
            console.print(f"{name} loss [bold]{before:.4f} → {after:.4f}[/bold] per {unit}")
    if result.extra_metrics:
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in result.extra_metrics.items())
        console.print(f"on validation data {metrics}")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _before_and_after(sample: ReplySample) -> str:
    question, before, after = (one_line(text) for text in (sample.question, sample.before, sample.after))
    return f"“{question}”\n  before → {before}\n  after  → {after}"
