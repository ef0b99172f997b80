"""A recipe: everything that decides a training run, in one YAML file, kept beside the weights it made."""

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
    """The shape of a model that starts from random weights; the vocabulary comes from the tokenizer."""

    family: Literal["llama", "mistral", "qwen2", "qwen3", "smollm3", "t5", "bart", "bert"] = "llama"
    hidden_size: int = Field(256, ge=8)
    intermediate_size: int = Field(704, ge=8)
    num_layers: int = Field(6, ge=1)
    num_heads: int = Field(4, ge=1)
    num_kv_heads: int = Field(2, ge=1)
    context_length: int = Field(1024, ge=16)
    rope_theta: float = Field(10_000.0, gt=0)


class ModelSection(StrictModel):
    """What is trained: a model folder (`from`), or a new model with a tokenizer's folder."""

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
    """One file or folder of training data.

    Attributes:
        path: where it is.
        repeat: how often an epoch shows it; half a time is half of it, and the other half in the next.
        weight: its share of the tokens of an epoch, beside the other sources' weights.
        limit: conversations or documents from its beginning.
        side: of a folder with train, valid and test files, the one that is read.
        format, encoding, columns, roles, me: how it is to be read, where it does not say so (`data/read_options.py`).
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
    """What is learned from. Without `valid`, a share of `train` is held out, by conversation.

    Attributes:
        train: what is learned from.
        valid: what early stopping looks at.
        test: what is measured before and after.
        general: what the model should not forget, measured likewise.
        valid_fraction: the share that is held out where there is no `valid`.
        rehearse: the share of the tokens that are prompts with the base's own answers, so that it forgets less.
        prompts: what it is asked for them; none: prompts that come along (`data/prompts`).
        noise: the share of training dialogues whose user turns are misspelt, a tenth of their words.
        skip_bad: leave bad rows out.
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
        """A bare path, or a list of them, is short for the full form."""
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
    """How it is learned. An optimiser step sees `rows` rows of `row_length` tokens, `micro_rows` at a time.

    Without `row_length`, a row is as long as nearly all dialogues of the data, as far as the model's context and memory
    allow (`row_length.py`).

    Guards: a loss `spike` times its running mean, or one that is no number, rolls back to the last checkpoint, leaves
    the rows since out and goes on at half the rate, up to three times. `ema` averages weights over steps, `neftune`
    puts noise on embeddings. `interpolate` looks for the best mix with the base at the end, by validation; where there
    is `data.general`, among mixes whose loss on it is at most `forget` above the base's, as a share.

    A checkpoint is written every `save_minutes`, every `save_every` steps (a spike goes back to one of these), and when
    a signal ends the run.

    `dtype` is what is computed in, `save_dtype` the type of the saved weights; "auto" is the base's.

    `shard` parts weights, gradients and moments among workers, where there are several.

    `effort` or `minutes` settle steps, rows, rates and patience (`effort.py`), as far as they are not said.
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
        """Tokens in a row, once the data was looked at."""
        assert self.row_length is not None, "settled before data is read"
        return self.row_length


class Recipe(StrictModel):
    """A whole run: what is learned (`objective`), and which weights learn it, and how (`method`)."""

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
        """The recipe as YAML, with every default spelled out."""
        return yaml.safe_dump(self.model_dump(by_alias=True), sort_keys=False, allow_unicode=True)


def parse_recipe(values: Any, *, origin: str) -> Recipe:
    """Check a recipe.

    Args:
        values: what the YAML file or the command line said.
        origin: what to call it in errors.

    Raises:
        InvalidParameter: an unknown key (with the nearest known one), a wrong type or a value out of range.
    """
    if not isinstance(values, dict):
        raise InvalidParameter("recipe", f"{origin} should hold keys such as 'model', 'data' and 'out'.")
    return parse_strict_model(Recipe, values, origin=origin)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. `${NAME}` in its values is replaced from the environment, so data can live anywhere.

    Raises:
        InvalidParameter: no such file, no YAML, or not a recipe.
    """
    if not path.is_file():
        raise InvalidParameter("recipe", f"There is no recipe {path}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidParameter("recipe", f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    return parse_recipe(_from_environment(values, path), origin=str(path))


def _from_environment(value: Any, path: Path) -> Any:
    """`value` with every `${NAME}` in its texts replaced."""

    def replaced(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise InvalidParameter(name, f"{path} uses ${{{name}}}: set the environment variable {name} to a folder.")
        return os.environ[name]

    if isinstance(value, dict):
        return {key: _from_environment(entry, path) for key, entry in value.items()}
    if isinstance(value, list):
        return [_from_environment(entry, path) for entry in value]
    return re.sub(r"\$\{(\w+)\}", replaced, value) if isinstance(value, str) else value
