"""The sections of a recipe: `model`, `data` and `training`."""

from typing import Any, Literal

from pydantic import Field, model_validator

from turnwise.core.strict_model import StrictModel
from turnwise.training.optim.lr_schedule import LrSchedule
from turnwise.training.optim.optimizers import OptimizerName

Preset = Literal["quick", "normal", "thorough"]
# Keys of `data` that hold sources.
SOURCE_LISTS = ("train", "valid", "test", "retention", "replay_prompts", "replay_replies")
DEFAULT_LEARNING_RATE = 5e-4  # of objectives that have no other


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
    """The model to train: an existing one (`from`, a model folder), or a new one with a tokenizer folder.

    Attributes:
        source: model folder (`from`).
        new: sizes of a new model.
        tokenizer: tokenizer folder.
        interaction_format: interaction format, whose chat template the model is trained and saved with, as
            `chat.formats.load_format` accepts it. Default: the template of the tokenizer.
    """

    source: str | None = Field(None, alias="from")
    new: NewModel | None = None
    tokenizer: str | None = None
    interaction_format: str | None = None

    @model_validator(mode="after")
    def _check_source(self) -> "ModelSection":
        if (self.source is None) == (self.new is None):
            raise ValueError("needs either 'from' (a model folder) or 'new' (the sizes of a new model)")
        if self.new is not None and self.tokenizer is None:
            raise ValueError("with 'new' needs 'tokenizer', the folder of the new model's tokenizer")
        return self


class SourceConfig(StrictModel):
    """A file or folder of data.

    Attributes:
        path: file or folder.
        repeat: passes over the source per epoch; 0.5 trains on half of it in each epoch, the halves alternating.
        weight: share of an epoch's tokens, relative to the weights of the other sources.
        max_items: number of conversations or documents to use, from the start.
        split: split to use of a folder with train, valid and test files.
        format, encoding, columns, roles, assistant_name: how to parse it (`data/read_options.py`); default: detected.
    """

    path: str
    repeat: float = Field(1.0, gt=0)
    weight: float | None = Field(None, gt=0)
    max_items: int | None = Field(None, ge=1)
    split: Literal["train", "valid", "test"] | None = None
    format: str | None = None
    encoding: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    roles: dict[str, str] = Field(default_factory=dict)
    assistant_name: str | None = None


class DataSection(StrictModel):
    """Data of a run. Without `valid`, a fraction of the training conversations is held out.

    Attributes:
        train: training data.
        valid: validation data, for early stopping.
        test: test data, measured before and after training.
        retention: data of earlier tasks, measured before and after training: its loss should not rise.
        valid_fraction: fraction of the training data to hold out if there is no `valid`.
        replay_ratio: share of tokens that are prompts with the base model's own replies (self-distillation replay).
        replay_prompts: prompts for replay; default: the bundled prompts (`data/prompts`).
        replay_replies: dialogues that end with replies of the base model, generated before; default: the run generates
            them.
        replay_targets: what is learned from the replies: their "tokens", or the base model's "distribution" at every
            token (distillation).
        typo_ratio: share of training dialogues with typos in a tenth of the words of their user turns.
        skip_bad_rows: skip bad rows instead of stopping at the first one.
    """

    train: list[SourceConfig] = Field(min_length=1)
    valid: list[SourceConfig] = Field(default_factory=list)
    test: list[SourceConfig] = Field(default_factory=list)
    retention: list[SourceConfig] = Field(default_factory=list)
    valid_fraction: float = Field(0.1, ge=0, lt=1)
    replay_ratio: float = Field(0.0, ge=0, le=0.9)
    replay_prompts: list[SourceConfig] = Field(default_factory=list)
    replay_replies: list[SourceConfig] = Field(default_factory=list)
    replay_targets: Literal["distribution", "tokens"] = "tokens"
    typo_ratio: float = Field(0.0, ge=0, le=1)
    skip_bad_rows: bool = False

    @model_validator(mode="before")
    @classmethod
    def _expand_paths(cls, values: Any) -> Any:
        """Expand a path, or a list of paths, to the full form."""
        if isinstance(values, dict):
            for name in SOURCE_LISTS:
                entry = values.get(name)
                if isinstance(entry, str):
                    values = {**values, name: [{"path": entry}]}
                elif isinstance(entry, list):
                    values = {**values, name: [{"path": e} if isinstance(e, str) else e for e in entry]}
        return values

    @model_validator(mode="after")
    def _check_sources(self) -> "DataSection":
        has_weight = [source.weight is not None for source in self.train]
        if any(has_weight) and not all(has_weight):
            raise ValueError("needs a 'weight' for every training source, or for none")
        if any(has_weight) and any(source.repeat != 1 for source in self.train):
            raise ValueError("has a source with both 'weight' and 'repeat': use only one of them")
        for name in ("replay_prompts", "replay_replies"):
            if getattr(self, name) and not self.replay_ratio:
                raise ValueError(f"has '{name}', but 'replay_ratio' is 0: set the share of replay tokens")
            if any(source.weight is not None or source.repeat != 1 for source in getattr(self, name)):
                raise ValueError(
                    f"reads every dialogue of '{name}' once: remove 'weight' and 'repeat' from its sources"
                )
        if self.replay_targets != "tokens" and not self.replay_ratio:
            raise ValueError("has 'replay_targets', but 'replay_ratio' is 0: set the share of replay tokens")
        if self.replay_prompts and self.replay_replies:
            raise ValueError("has 'replay_prompts' and 'replay_replies': replies need no prompts, remove one of them")
        return self


class TrainingSection(StrictModel):
    """Hyperparameters and run options. A step trains on `batch_size` sequences of up to `max_seq_len` tokens.

    Attributes:
        preset: derive all unset values from the data: "quick", "normal" or "thorough".
        time_budget: time budget in minutes; unset values are derived from it and from the measured speed.
        epochs: passes over the data.
        max_steps: optimizer steps; overrides `epochs`.
        max_seq_len: maximum tokens per sequence, which has one or several examples; default: long enough for nearly
            all dialogues (`launch/auto_seq_len.py`).
        batch_size: sequences per optimizer step, over all workers.
        micro_batch_size: sequences per forward pass.
        optimizer: "adamw" or "muon".
        learning_rate: peak learning rate. Default of a recipe: that of its objective.
        head_lr_factor: learning rate of a new classification head, relative to that of all other weights.
        weight_decay: decoupled weight decay of matrices.
        max_grad_norm: maximum gradient norm.
        lr_schedule: learning-rate schedule (`optim/lr_schedule.py`).
        warmup_ratio: warmup steps as a share of all steps.
        min_lr_ratio: final learning rate as a share of the peak.
        dtype: compute dtype; "auto": bfloat16 where the device is fast at it.
        save_dtype: dtype of the saved weights; "auto": that of the base model.
        torch_compile: compile the model with torch.compile.
        fsdp: shard parameters, gradients and optimizer state across workers (FSDP2).
        eval_steps: steps between validations; default: a twentieth of the run, an epoch of a classifier; at least 10.
        early_stopping_patience: validations without improvement before early stopping; 0 never stops early.
        save_steps: steps between rollback checkpoints.
        save_interval_minutes: minutes between checkpoints.
        seed: seed of data order, held-out split, initialization and dropout.
        loss_spike_factor: a loss above this multiple of its running mean triggers a rollback to the last rollback
            checkpoint: training returns to that checkpoint, skips the sequences since and halves the learning rate; at
            most three times.
        ema_decay: decay of the moving average of the weights that is validated and saved; None: off.
        neftune_noise_alpha: scale α of NEFTune noise on embeddings; None: off.
        interpolate: at the end, interpolate base and tuned weights by validation loss (WiSE-FT).
        max_retention_increase: maximum relative increase of the loss on `data.retention` when interpolating.
    """

    preset: Preset | None = None
    time_budget: float | None = Field(None, gt=0)
    epochs: float = Field(3.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    max_seq_len: int | None = Field(None, ge=8)
    batch_size: int = Field(8, ge=1)
    micro_batch_size: int = Field(8, ge=1)
    optimizer: OptimizerName = "adamw"
    learning_rate: float = Field(DEFAULT_LEARNING_RATE, gt=0, lt=1)
    head_lr_factor: float = Field(1.0, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    lr_schedule: LrSchedule = "cosine"
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    min_lr_ratio: float = Field(0.1, ge=0, le=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    torch_compile: bool = False
    fsdp: bool = False
    eval_steps: int | None = Field(None, ge=1)
    early_stopping_patience: int = Field(3, ge=0)
    save_steps: int = Field(100, ge=1)
    save_interval_minutes: float = Field(1.0, gt=0)
    seed: int = Field(0, ge=0)
    loss_spike_factor: float = Field(3.0, gt=1)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    neftune_noise_alpha: float | None = Field(None, gt=0)
    interpolate: bool = False
    max_retention_increase: float = Field(0.01, ge=0)

    @property
    def resolved_max_seq_len(self) -> int:
        """The sequence length, after `with_max_seq_len` has set it."""
        assert self.max_seq_len is not None, "set before data is tokenized"
        return self.max_seq_len
