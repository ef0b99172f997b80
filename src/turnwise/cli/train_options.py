"""Options of `turnwise train`, by subject."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from turnwise.cli.data_flags import recipe_keys
from turnwise.cli.recipe_flags import RecipeFlags
from turnwise.cli.shared_flags import InteractionFormatName

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions

Preset = Literal["quick", "normal", "thorough"]
Evaluation = Literal["quick", "full", "none"]
DATA, HYPERPARAMETERS = "Data", "Hyperparameters"
AUTOMATIC, WORKERS, OUTPUT = "Automatic hyperparameters", "Workers", "Output and evaluation"


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """What is trained, from which model, and where it is written."""

    base_model: Annotated[
        str | None,
        typer.Option(
            help="Model to start from: a name of `turnwise models list`, or a folder. Default: assistant, or tiny "
            "until the base model of assistant is pulled."
        ),
    ] = None
    out: Annotated[Path | None, typer.Option(help="Folder for the trained model.")] = None
    objective: Annotated[
        str | None,
        typer.Option(
            help="Training objective: sft (replies), iqlearn (replies, with implied rewards), clm (every token), dpo "
            "(preference pairs), kto (ratings), adversarial, best_of_n or spin (sampled replies), seq2seq, span, mlm, "
            "token_classification or sequence_classification. Options follow the name: dpo:beta=0.2. Default: sft."
        ),
    ] = None
    method: Annotated[
        str | None,
        typer.Option(
            help="Which weights are trained: full (all), freeze (some layers), lora (adapter), prompt_tuning (virtual "
            "tokens) or prompt (none). Options follow the name: freeze:last_layers=2, lora:rank=8,dora=true. "
            "Default: lora if the base model is an adapter or a GGUF file, else full."
        ),
    ] = None
    interaction_format: InteractionFormatName = None


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Data besides DATA."""

    valid: Annotated[
        Path | None, typer.Option(help="Validation dialogues. Default: a tenth of DATA.", rich_help_panel=DATA)
    ] = None
    test: Annotated[
        Path | None,
        typer.Option(help="Test dialogues. Their loss is measured before and after training.", rich_help_panel=DATA),
    ] = None
    replay_ratio: Annotated[
        float | None,
        typer.Option(
            help="Share of the training tokens that are the base model's own replies to other prompts. Reduces "
            "forgetting; try 0.5. Default: 0.",
            min=0,
            max=0.9,
            rich_help_panel=DATA,
        ),
    ] = None
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows", help="Skip bad rows instead of stopping at the first one.", rich_help_panel=DATA
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class HyperparameterOptions:
    """Hyperparameters; None: from the recipe, or the default."""

    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data. Default: 3.", rich_help_panel=HYPERPARAMETERS)
    ] = None
    max_steps: Annotated[
        int | None, typer.Option(help="Optimizer steps. Overrides --epochs.", rich_help_panel=HYPERPARAMETERS)
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate. Default: that of the objective (sft: 0.0005; dpo, kto: 0.00003; adversarial, "
            "best_of_n, spin: 0.00002).",
            rich_help_panel=HYPERPARAMETERS,
        ),
    ] = None
    max_seq_len: Annotated[
        int | None,
        typer.Option(
            help="Maximum sequence length in tokens. Default: enough for 99 % of the dialogues, at most the model's "
            "context.",
            rich_help_panel=HYPERPARAMETERS,
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Sequences per optimizer step, over all workers. Default: 8.", rich_help_panel=HYPERPARAMETERS
        ),
    ] = None
    micro_batch_size: Annotated[
        int | None,
        typer.Option(
            help="Sequences per forward pass. Smaller values use less memory. Default: as many as fit, at most 8.",
            min=1,
            rich_help_panel=HYPERPARAMETERS,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of data order and initialization. Default: 0.", rich_help_panel=HYPERPARAMETERS),
    ] = None


@dataclass(frozen=True, slots=True)
class AutomaticOptions:
    """How hyperparameters are derived or searched."""

    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Derive unset steps, batch size, learning rate and patience from the data.", rich_help_panel=AUTOMATIC
        ),
    ] = None
    time_budget: Annotated[
        float | None,
        typer.Option(
            help="Time budget in minutes, including the evaluation. Derives the same hyperparameters as --preset.",
            min=0.01,
            rich_help_panel=AUTOMATIC,
        ),
    ] = None
    hpo_trials: Annotated[
        int | None,
        typer.Option(
            help="Search hyperparameters with this number of trials and keep the best model.",
            min=1,
            rich_help_panel=AUTOMATIC,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Processes and machines that train."""

    num_workers: Annotated[
        int | None,
        typer.Option(
            help="Number of training processes on this machine. For several machines, use torchrun. Default: 1.",
            min=1,
            rich_help_panel=WORKERS,
        ),
    ] = None
    fsdp: Annotated[
        bool,
        typer.Option(
            "--fsdp",
            help="Shard parameters, gradients and optimizer state across workers (FSDP2).",
            rich_help_panel=WORKERS,
        ),
    ] = False
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run the workers on a Ray cluster: its address (host:port), auto for the cluster of this machine, or "
            "local to start one.",
            rich_help_panel=WORKERS,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class TrainOutputOptions:
    """What the run writes and evaluates."""

    evaluation: Annotated[
        Evaluation,
        typer.Option(
            help="Compare the model with its base model: quick (50 dialogues), full (500 dialogues, all metrics) or "
            "none.",
            rich_help_panel=OUTPUT,
        ),
    ] = "quick"
    save_dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the saved weights. auto: the type of the base model.", rich_help_panel=OUTPUT),
    ] = "auto"
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the data, the expected time and memory, and exit.", rich_help_panel=OUTPUT
        ),
    ] = False
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace OUT when the new model is complete.", rich_help_panel=OUTPUT),
    ] = False
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Discard an unfinished run instead of resuming it.", rich_help_panel=OUTPUT),
    ] = False
    events: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Append the events of the run as JSON lines, with replies to three validation dialogues at every "
            "validation.",
            rich_help_panel=OUTPUT,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """All options but those for reading the data."""

    recipe: RecipeOptions
    data: DataOptions
    hyperparameters: HyperparameterOptions
    automatic: AutomaticOptions
    workers: WorkerOptions
    output: TrainOutputOptions

    def recipe_flags(self, read_options: "ReadOptions") -> RecipeFlags:
        """The flags that a recipe is built from or overridden with; `read_options` sets how files are parsed."""
        recipe, data, hyperparameters = self.recipe, self.data, self.hyperparameters
        dtype = self.output.save_dtype
        return RecipeFlags(
            base_model=recipe.base_model,
            out=recipe.out,
            objective=recipe.objective,
            method=recipe.method,
            interaction_format=recipe.interaction_format,
            data={
                "valid": data.valid,
                "test": data.test,
                "replay_ratio": data.replay_ratio,
                "skip_bad_rows": data.skip_bad or None,
            },
            training={
                "epochs": hyperparameters.epochs,
                "max_steps": hyperparameters.max_steps,
                "learning_rate": hyperparameters.learning_rate,
                "max_seq_len": hyperparameters.max_seq_len,
                "batch_size": hyperparameters.batch_size,
                "micro_batch_size": hyperparameters.micro_batch_size,
                "seed": hyperparameters.seed,
                "preset": self.automatic.preset,
                "time_budget": self.automatic.time_budget,
                "fsdp": self.workers.fsdp or None,
                "save_dtype": None if dtype == "auto" else dtype,
            },
            source_options=recipe_keys(read_options),
        )
