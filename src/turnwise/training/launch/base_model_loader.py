"""Loads the base model of a recipe, or creates a new one."""

from dataclasses import replace
from pathlib import Path

import torch

from turnwise.chat.formats import apply_format, load_format
from turnwise.core.errors import InvalidParameter, UserError
from turnwise.models import checkpoint, transformers_checkpoint
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import Adapter, load_adapter
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_model import EncoderModel
from turnwise.models.families import load_family
from turnwise.models.generation_config import read_generation_config
from turnwise.models.language_model import LanguageModel, ModelKind
from turnwise.models.model_folders import find_model_folder
from turnwise.models.model_kind import detect_model_kind, full_model_folder, is_native
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe
from turnwise.training.recipe_sections import NewModel

KIND_NAMES: dict[ModelKind, str] = {
    "decoder": "a decoder",
    "encoder_decoder": "an encoder–decoder",
    "encoder": "an encoder",
}
KINDS: dict[str, ModelKind] = {
    "t5": "encoder_decoder",
    "bart": "encoder_decoder",
    "bert": "encoder",
}  # of new models; all other families are decoders


def load_base_model(recipe: Recipe, *, merges_adapter: bool = False) -> ModelBundle:
    """Load or create the model and tokenizer that a run starts from.

    Args:
        recipe: recipe of the run.
        merges_adapter: merge an adapter into its base model, although the method could continue its training: the
            model then answers as the adapter does.

    Raises:
        ModelNotFound: the folder does not exist or holds no model.
        TemplateError: the model lacks what the interaction format needs.
        InvalidParameter: the interaction format is unknown, the objective does not train this kind of model, or the
            model's context is shorter than a row.
    """
    # Check a format before the weights are loaded.
    name = recipe.model.interaction_format
    interaction_format = None if name is None else load_format(name)
    base = _load(recipe, merges_adapter=merges_adapter) if recipe.model.source is not None else _create(recipe)
    if interaction_format is not None:
        base = replace(base, tokenizer=apply_format(base.tokenizer, interaction_format))
    model, length = base.model, recipe.training.max_seq_len
    if length is not None and length > model.context_length:
        raise InvalidParameter(
            "training.max_seq_len",
            f"'max_seq_len' is {length}, but the model's context is {model.context_length} tokens.",
        )
    if base.tokenizer.vocab_size > model.vocab_size:
        raise UserError(
            f"The tokenizer has {base.tokenizer.vocab_size} tokens, the model only {model.vocab_size}: "
            "they do not belong together."
        )
    return base


def _load(recipe: Recipe, *, merges_adapter: bool) -> ModelBundle:
    section = recipe.model
    assert section.source is not None
    folder = find_model_folder(section.source)
    kind = detect_model_kind(folder)
    _check_kind(recipe, kind, section.source)
    model: LanguageModel
    adapter: Adapter | None = None
    model_folder = folder
    if recipe.objective.READS_ANNOTATIONS and kind == "encoder":
        model = EncoderModel.load(folder)
    elif not is_native(folder):
        model = transformers_checkpoint.load(folder, kind=kind, dtype=torch.float32)
    else:
        if is_adapter(folder) and recipe.method.CONTINUES_ADAPTERS and not merges_adapter:
            adapter = load_adapter(folder)
            model_folder = adapter.base
        model = checkpoint.load(model_folder, dtype=torch.float32)
    tokenizer = _load_tokenizer(section.tokenizer, folder)
    return ModelBundle(model, tokenizer, read_generation_config(folder), model_folder, adapter)


def _load_tokenizer(path: str | None, folder: Path) -> Tokenizer:
    return (
        Tokenizer.load(folder, full_model_folder(folder)) if path is None else Tokenizer.load(Path(path).expanduser())
    )


def _create(recipe: Recipe) -> ModelBundle:
    new = recipe.model.new
    assert new is not None
    assert recipe.model.tokenizer is not None
    tokenizer = Tokenizer.load(Path(recipe.model.tokenizer).expanduser())
    tokenizer = tokenizer.with_special_tokens(recipe.objective.special_tokens())
    kind = KINDS.get(new.family, "decoder")
    _check_kind(recipe, kind, f"A new model of the family '{new.family}'")
    seed = recipe.training.seed
    if kind == "decoder":
        return ModelBundle(checkpoint.create(_new_config(new, tokenizer.vocab_size), seed=seed), tokenizer, None)
    if kind == "encoder" and recipe.objective.READS_ANNOTATIONS:
        config = EncoderConfig(
            tokenizer.vocab_size, new.hidden_size, new.num_layers, new.num_heads, new.intermediate_size,
            new.context_length,
        )  # fmt: skip
        return ModelBundle(EncoderModel.create(config, seed), tokenizer, None)
    sizes = transformers_checkpoint.ModelSizes(
        tokenizer.vocab_size, new.hidden_size, new.intermediate_size, new.num_layers, new.num_heads, new.context_length
    )
    model = transformers_checkpoint.create(
        new.family, sizes, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, seed=seed
    )
    return ModelBundle(model, tokenizer, None)


def _check_kind(recipe: Recipe, kind: ModelKind, name: str) -> None:
    if kind in recipe.objective.MODEL_KINDS:
        return
    objectives = [entry for entry in OBJECTIVES.names() if kind in OBJECTIVES.plugin_class(entry).MODEL_KINDS]
    raise InvalidParameter(
        "objective",
        f"{name} is {KIND_NAMES[kind]}, which the objective '{OBJECTIVES.plugin_name(recipe.objective)}' does not "
        f"train. Objectives for it: {', '.join(objectives)}.",
    )


def _new_config(new: NewModel, vocab_size: int) -> DecoderConfig:
    """Build a configuration through the family's parser, so that biases and norms match the published models."""
    return load_family(new.family).from_hf_config(
        {
            "vocab_size": vocab_size,
            "hidden_size": new.hidden_size,
            "intermediate_size": new.intermediate_size,
            "num_hidden_layers": new.num_layers,
            "num_attention_heads": new.num_heads,
            "num_key_value_heads": new.num_kv_heads,
            "head_dim": new.hidden_size // new.num_heads,
            "max_position_embeddings": new.context_length,
            "rope_theta": new.rope_theta,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "sliding_window": None,
        }
    )
