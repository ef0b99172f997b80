"""Keys of recipes and checkpoints that earlier versions used.

An unfinished run of an earlier version can be resumed: `with_current_keys` and `with_current_state_keys` translate its
files. A new recipe must use the current keys: `reject_old_keys` names them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.training.recipe_sections import SOURCE_LISTS

TRAINING = {
    "effort": "preset",
    "minutes": "time_budget",
    "row_length": "max_seq_len",
    "rows": "batch_size",
    "micro_rows": "micro_batch_size",
    "clip_norm": "max_grad_norm",
    "schedule": "lr_schedule",
    "warmup": "warmup_ratio",
    "final_rate": "min_lr_ratio",
    "compile": "torch_compile",
    "shard": "fsdp",
    "validate_every": "eval_steps",
    "patience": "early_stopping_patience",
    "save_every": "save_steps",
    "save_minutes": "save_interval_minutes",
    "spike": "loss_spike_factor",
    "ema": "ema_decay",
    "neftune": "neftune_noise_alpha",
    "forget": "max_retention_increase",
}
DATA = {
    "general": "retention",
    "rehearse": "replay_ratio",
    "prompts": "replay_prompts",
    "noise": "typo_ratio",
    "skip_bad": "skip_bad_rows",
}
SOURCE = {"limit": "max_items", "side": "split", "me": "assistant_name"}
NAMES = {"method": {"partial": "freeze", "soft": "prompt_tuning"}}
# Options of objectives and methods, by current name.
OPTIONS = {
    "mlm": {"share_masked": "mask_ratio"},
    "span": {"share_cut": "corruption_ratio", "mean_length": "mean_span_length"},
    "dpo": {"smoothing": "label_smoothing", "sft": "sft_weight"},
    "kto": {"good": "desirable_weight", "bad": "undesirable_weight"},
    "freeze": {"last": "last_layers", "part": "module", "names": "parameters"},
    "prompt_tuning": {"tokens": "num_virtual_tokens", "start": "init_text"},
    "lora": {"targets": "target_modules"},
    "prompt": {"choose": "selection", "tries": "num_candidates"},
}
# Keys of `state.json`. `plan.json` has the keys of the training section.
STATE = {
    "general_before": "retention_before", "micro_rows": "micro_batch_size", "rate_scale": "lr_scale",
    "best_loss": "best_score",
}  # fmt: skip

OnRenamed = Callable[[str, str, str], None]
"""Called with the path of a section, and the old and the current key or name."""


def with_current_keys(recipe: Any, on_renamed: OnRenamed = lambda *_: None) -> Any:
    """Return the parsed YAML of a recipe with current keys. Values that are no recipe are returned as they are."""
    if not isinstance(recipe, Mapping):
        return recipe
    values = dict(recipe)
    for kind in ("objective", "method"):
        if kind in values:
            values[kind] = _with_current_options(values[kind], kind, on_renamed)
    if "training" in values:
        values["training"] = with_renamed_keys(values["training"], TRAINING, "training", on_renamed)
    if isinstance(data := with_renamed_keys(values.get("data"), DATA, "data", on_renamed), Mapping):
        values["data"] = {name: _with_current_sources(entry, name, on_renamed) for name, entry in data.items()}
    return values


def with_current_state_keys(state: Mapping[str, Any]) -> Any:
    """Return the content of `state.json` with current keys."""
    return with_renamed_keys(state, STATE)


def reject_old_keys(recipe: Any, *, origin: str) -> None:
    """Raise `InvalidParameter`, naming the current key, if a recipe uses a key of an earlier version."""

    def reject(section: str, old: str, current: str) -> None:
        path = f"{section}.{old}" if section else old
        raise InvalidParameter(path, f"{origin}: '{path}' is now called '{current}'.")

    with_current_keys(recipe, reject)


def with_renamed_keys(
    values: Any, names: Mapping[str, str], section: str = "", on_renamed: OnRenamed = lambda *_: None
) -> Any:
    """Return a mapping with its keys renamed; any other value is returned as it is."""
    if not isinstance(values, Mapping):
        return values
    for key in values:
        if key in names:
            on_renamed(section, key, names[key])
    return {names.get(key, key): value for key, value in values.items()}


def _with_current_options(value: Any, kind: str, on_renamed: OnRenamed) -> Any:
    """Rename an objective or method, `name` or `{name: …, option: …}`, and its options."""
    options = {"name": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        return value
    name = NAMES.get(kind, {}).get(options["name"], options["name"])
    if name != options["name"]:
        on_renamed(kind, options["name"], name)
    options = with_renamed_keys({**options, "name": name}, OPTIONS.get(name, {}), kind, on_renamed)
    return name if isinstance(value, str) else options


def _with_current_sources(entry: Any, name: str, on_renamed: OnRenamed) -> Any:
    if name not in SOURCE_LISTS or not isinstance(entry, list):
        return entry
    return [
        with_renamed_keys(source, SOURCE, f"data.{name}.{number}", on_renamed) for number, source in enumerate(entry)
    ]
