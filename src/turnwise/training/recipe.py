"""The recipe: all settings of a training run, in one YAML file that is stored beside the trained weights."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.training.method import Method
from turnwise.training.methods import METHODS
from turnwise.training.objective import Objective
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.optim.lr_schedule import LrSchedule
from turnwise.training.optim.optimizers import OptimizerName


class NewModel(StrictModel):
    """Sizes of a new model with random weights; the vocabulary size comes from the tokenizer."""

    family: Literal["llama", "mistral", "qwen2", "qwen3", "smollm3", "t5", "bart", "bert"] = "llama"
    hidden_size: int = Field(256, ge=8)
    intermediate_size: int = Field(704, ge=8)
    num_layers: int = Field(6, ge=1)
    num_heads: int = Field(4, ge=1)
    num_kv_heads: int = Field(2, ge=1)
    context_length: int = Field(1024, ge=16)
    rope_theta: float = Field(10_000.0, gt=0)


class ModelSection(StrictModel):
    """The model to train: an existing one (`from`, a model folder), or a new one with a tokenizer folder."""

    source: str | None = Field(None, alias="from")
    new: NewModel | None = None
    tokenizer: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "ModelSection":
        if (self.source is None) == (self.new is None):
            raise ValueError("say either 'from' (a model folder) or 'new' (the shape of a new model)")
        if self.new is not None and self.tokenizer is None:
            raise ValueError("a new model needs 'tokenizer', the folder of its tokenizer")
        return self


class SourceConfig(StrictModel):
    """A file or folder of data.

    Attributes:
        path: file or folder.
        repeat: passes over the source per epoch; 0.5 shows half of it per epoch, alternating halves.
        weight: share of an epoch's tokens, relative to the weights of the other sources.
        limit: number of conversations or documents to use, from the start.
        side: split to use of a folder with train, valid and test files.
        format, encoding, columns, roles, me: how to read it (`data/read_options.py`); default: detected.
    """

    path: str
    repeat: float = Field(1.0, gt=0)
    weight: float | None = Field(None, gt=0)
    limit: int | None = Field(None, ge=1)
    side: Literal["train", "valid", "test"] | None = None
    format: str | None = None
    encoding: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    roles: dict[str, str] = Field(default_factory=dict)
    me: str | None = None


class DataSection(StrictModel):
    """Data of a run. Without `valid`, a part of the training conversations is held out.

    Attributes:
        train: training data.
        valid: validation data, for early stopping.
        test: test data, measured before and after training.
        general: retention data, measured before and after training: its loss should not rise.
        valid_fraction: share of the training data to hold out if there is no `valid`.
        rehearse: share of tokens that are prompts with the base model's own replies (self-distillation replay).
        prompts: prompts for replay; default: the bundled prompts (`data/prompts`).
        noise: share of training dialogues with typos in a tenth of the words of their user turns.
        skip_bad: skip bad rows.
    """

    train: list[SourceConfig] = Field(min_length=1)
    valid: list[SourceConfig] = Field(default_factory=list)
    test: list[SourceConfig] = Field(default_factory=list)
    general: list[SourceConfig] = Field(default_factory=list)
    valid_fraction: float = Field(0.1, ge=0, lt=1)
    rehearse: float = Field(0.0, ge=0, le=0.9)
    prompts: list[SourceConfig] = Field(default_factory=list)
    noise: float = Field(0.0, ge=0, le=1)
    skip_bad: bool = False

    @model_validator(mode="before")
    @classmethod
    def _paths(cls, values: Any) -> Any:
        """Expand a path, or a list of paths, to the full form."""
        if isinstance(values, dict):
            for name in ("train", "valid", "test", "general", "prompts"):
                entry = values.get(name)
                if isinstance(entry, str):
                    values = {**values, name: [{"path": entry}]}
                elif isinstance(entry, list):
                    values = {**values, name: [{"path": e} if isinstance(e, str) else e for e in entry]}
        return values

    @model_validator(mode="after")
    def _weights(self) -> "DataSection":
        weighted = [source.weight is not None for source in self.train]
        if any(weighted) and not all(weighted):
            raise ValueError("give every training source a 'weight', or none of them")
        if any(weighted) and any(source.repeat != 1 for source in self.train):
            raise ValueError("says how often to 'repeat' a source that has a 'weight': leave one of them out")
        if self.prompts and not self.rehearse:
            raise ValueError("names 'prompts', but no share of answers to them: say how much to 'rehearse'")
        if any(source.weight is not None or source.repeat != 1 for source in self.prompts):
            raise ValueError("asks every prompt once: leave out 'weight' and 'repeat' of 'prompts'")
        return self


class TrainingSection(StrictModel):
    """Hyperparameters and run options. A step trains on `rows` rows of `row_length` tokens, `micro_rows` at a time.

    Attributes:
        effort: derive all unset values from the data: "quick", "normal" or "thorough".
        minutes: time budget; unset values are derived from it and from the measured speed.
        epochs: passes over the data.
        max_steps: optimizer steps; overrides `epochs`.
        row_length: tokens per row; default: long enough for nearly all dialogues (`launch/auto_seq_len.py`).
        rows: batch size, in rows per optimizer step.
        micro_rows: micro-batch size, in rows per forward pass.
        optimizer: "adamw" or "muon".
        learning_rate: peak learning rate.
        weight_decay: decoupled weight decay of matrices.
        clip_norm: maximum gradient norm.
        schedule: learning-rate schedule (`optim/lr_schedule.py`).
        warmup: warmup steps as a share of all steps.
        final_rate: final learning rate as a share of the peak.
        dtype: compute dtype; "auto": bfloat16 where the device is fast at it.
        save_dtype: dtype of the saved weights; "auto": that of the base model.
        compile: compile the model with torch.compile.
        shard: shard parameters, gradients and optimizer state across workers (FSDP2).
        validate_every: steps between validations; default: a twentieth of the run, at least 10.
        patience: validations without improvement before early stopping; 0 never stops early.
        save_every: steps between rollback checkpoints.
        save_minutes: minutes between checkpoints.
        seed: seed of data order, held-out split, initialization and dropout.
        spike: a loss above `spike` times its running mean triggers a rollback to the last rollback checkpoint: its rows
            are skipped and the learning rate is halved, up to three times.
        ema: decay of the moving average of the weights that is validated and saved; None: off.
        neftune: scale α of NEFTune noise on embeddings; None: off.
        interpolate: at the end, interpolate base and tuned weights by validation loss (WiSE-FT).
        forget: maximum relative increase of the loss on `data.general` when interpolating.
    """

    effort: Literal["quick", "normal", "thorough"] | None = None
    minutes: float | None = Field(None, gt=0)
    epochs: float = Field(3.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    row_length: int | None = Field(None, ge=8)
    rows: int = Field(8, ge=1)
    micro_rows: int = Field(8, ge=1)
    optimizer: OptimizerName = "adamw"
    learning_rate: float = Field(5e-4, gt=0, lt=1)
    weight_decay: float = Field(0.1, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    schedule: LrSchedule = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1)
    final_rate: float = Field(0.1, ge=0, le=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False
    shard: bool = False
    validate_every: int | None = Field(None, ge=1)
    patience: int = Field(3, ge=0)
    save_every: int = Field(100, ge=1)
    save_minutes: float = Field(1.0, gt=0)
    seed: int = Field(0, ge=0)
    spike: float = Field(3.0, gt=1)
    ema: float | None = Field(None, gt=0, lt=1)
    neftune: float | None = Field(None, gt=0)
    interpolate: bool = False
    forget: float = Field(0.01, ge=0)

    @property
    def settled_row_length(self) -> int:
        """The sequence length, after `with_max_seq_len` has set it."""
        assert self.row_length is not None, "set before data is read"
        return self.row_length


class Recipe(StrictModel):
    """A training run: `objective` is the loss, `method` the weights to train."""

    objective: Annotated[
        Objective, PlainValidator(OBJECTIVES.parse_plugin), PlainSerializer(OBJECTIVES.dump_plugin)
    ] = Field("sft", validate_default=True)
    method: Annotated[Method, PlainValidator(METHODS.parse_plugin), PlainSerializer(METHODS.dump_plugin)] = Field(
        "full", validate_default=True
    )
    model: ModelSection
    data: DataSection
    training: TrainingSection = TrainingSection()
    out: str

    @model_validator(mode="after")
    def _parts(self) -> "Recipe":
        if self.training.shard and getattr(self.method, "quantize", None):
            raise ValueError("'shard' parts weights that are floats: leave it out, or the method's 'quantize'")
        if self.data.rehearse and OBJECTIVES.plugin_name(self.objective) != "sft":
            raise ValueError("'data.rehearse' mixes in answers, which only 'sft' learns: leave it out")
        if self.data.rehearse and self.model.source is None:
            raise ValueError("'data.rehearse' asks the model that the run starts from, and a new one knows no answers")
        return self

    def dump(self) -> str:
        """Return the recipe as YAML, including all defaults."""
        return yaml.safe_dump(self.model_dump(by_alias=True), sort_keys=False, allow_unicode=True)


def parse_recipe(values: Any, *, origin: str) -> Recipe:
    """Check a recipe.

    Args:
        values: parsed YAML, or values from command-line flags.
        origin: name of the source in error messages.

    Raises:
        InvalidParameter: unknown key (the message suggests the nearest one), wrong type, or value out of range.
    """
    if not isinstance(values, dict):
        raise InvalidParameter("recipe", f"{origin} should hold keys such as 'model', 'data' and 'out'.")
    return parse_strict_model(Recipe, values, origin=origin)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. `${NAME}` in its values is replaced by the environment variable NAME.

    Raises:
        InvalidParameter: the file is missing, is not YAML or is not a recipe.
    """
    if not path.is_file():
        raise InvalidParameter("recipe", f"There is no recipe {path}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidParameter("recipe", f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    return parse_recipe(_from_environment(values, path), origin=str(path))


def _from_environment(value: Any, path: Path) -> Any:
    """Replace `${NAME}` in all texts of `value`."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise InvalidParameter(name, f"{path} uses ${{{name}}}: set the environment variable {name} to a folder.")
        return os.environ[name]

    if isinstance(value, dict):
        return {key: _from_environment(entry, path) for key, entry in value.items()}
    if isinstance(value, list):
        return [_from_environment(entry, path) for entry in value]
    return re.sub(r"\$\{(\w+)\}", replace, value) if isinstance(value, str) else value
