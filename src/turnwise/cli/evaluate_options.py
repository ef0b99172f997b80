"""Options of `turnwise evaluate`, by subject."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from turnwise.cli.shared_flags import ContextPolicy, InteractionFormatName, PromptTemplate, PromptVariable, Threads
from turnwise.core.inference import Quantization

DEFAULT_LIMIT, DEFAULT_REPEATS = 500, 3


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """What is measured on which data, against what, and where the report goes."""

    data: Annotated[
        Path | None,
        typer.Option(
            help="Held-out dialogues, or annotated texts for a classifier: a file or folder. The metrics golden, "
            "contradiction, recall and knowledge bring their own test cases and need no data."
        ),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            "--baseline",
            help="Model or baseline to compare with; 'tiny' is the small bundled model. For a classifier: another one.",
        ),
    ] = None
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, report.md and scorecard.json.")] = None
    limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of dialogues (default: 500), or of texts (default: all).", min=1),
    ] = None


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """What is measured."""

    repeats: Annotated[int, typer.Option(help="Number of answers to sample per dialogue.", min=1)] = DEFAULT_REPEATS
    seed: Annotated[
        int, typer.Option(help="Random seed for everything but sampling: distractors, typos, test cases.")
    ] = 0
    metrics: Annotated[
        str | None, typer.Option(help="Metrics to compute, separated by commas: selection,chrf,… Default: all.")
    ] = None
    golden: Annotated[
        Path | None,
        typer.Option(help="Golden cases to use instead of the bundled ones: a YAML file or folder."),
    ] = None
    discriminator: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Discriminator of the metric realism, such as MODEL/discriminator. A model that was trained against "
            "it can exploit it; a claim needs another one.",
        ),
    ] = None
    temperature_sweep: Annotated[
        bool,
        typer.Option("--temperature-sweep", help="Also measure quality and diversity at temperatures from 0 to 1.3."),
    ] = False


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How models answer."""

    interaction_format: InteractionFormatName = None
    context_policy: ContextPolicy = "refuse"
    max_model_len: Annotated[
        int | None, typer.Option(help="Use only so many tokens of the context of the models. Default: all.", min=16)
    ] = None
    prompt_template: PromptTemplate = None
    prompt_variable: PromptVariable = None
    quantize: Annotated[
        Quantization | None, typer.Option(help="Quantize the weights of MODEL, as serve does. A classifier: int8 only.")
    ] = None
    threads: Threads = None


@dataclass(frozen=True, slots=True)
class VerdictOptions:
    """How the command runs and ends."""

    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with code 1 if the verdict is worse or mixed.")
    ] = False
    cache: Annotated[bool, typer.Option(help="Reuse the answers of earlier evaluations, also of interrupted ones.")] = (
        True
    )
    skip_bad_rows: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows",
            help="Skip bad rows, dialogues that a chat template rejects, and texts whose label a classifier does not "
            "know.",
        ),
    ] = False
    none_label: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="For a classifier: label of texts for which no label is the right answer."),
    ] = None
    json_out: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON.")] = False
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Append the progress of an evaluation of a chat model as JSON lines."),
    ] = None


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """A model that compares the answers."""

    judge_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --against: OpenAI-compatible address of a judge model that compares the answers. "
            "Its API key is read from TURNWISE_JUDGE_KEY.",
        ),
    ] = None
    judge_model: Annotated[str | None, typer.Option(help="Name of the judge model.")] = None


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """All options but those of sampling and for reading the data."""

    comparison: ComparisonOptions
    measure: MeasureOptions
    models: ModelOptions
    run: VerdictOptions
    judge: JudgeOptions
