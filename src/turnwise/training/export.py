"""Writes the trained model as a Hugging Face folder, with model card, recipe and curves."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from turnwise.core.files import atomic_directory
from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

DEFAULT_GENERATION = {"do_sample": True, "temperature": 0.7, "top_p": 0.9}


def export_model(
    target: Path,
    model: LanguageModel,
    tokenizer: Tokenizer,
    *,
    generation: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    files: Mapping[str, str | Path] | None = None,
) -> None:
    """Write a model folder atomically.

    Args:
        target: the folder; an existing one is replaced after everything is written.
        model: the weights.
        tokenizer: tokenizer with chat template.
        generation: content of `generation_config.json`; default: `DEFAULT_GENERATION`.
        dtype: dtype of the saved weights; None keeps their dtype.
        files: further files and folders by name: their text, or a path to copy.

    Raises:
        SaveFailed: the disk is full or not writable; `target` is unchanged.
    """
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    with export_folder(target, tokenizer, generation=generation, files=files) as folder:
        model.save(folder, dtype=dtype, hf_config={**special, **_special_ids(model.hf_config, special)})


@contextmanager
def export_folder(
    target: Path,
    tokenizer: Tokenizer,
    *,
    generation: Mapping[str, Any] | None = None,
    files: Mapping[str, str | Path] | None = None,
) -> Iterator[Path]:
    """Context manager: yield a folder for the weights, then add all other files and move it to `target`.

    Raises:
        SaveFailed: the disk is full or not writable; `target` is unchanged.
    """
    with atomic_directory(target) as folder:
        yield folder
        if tokenizer.chat_template is None and "eos_token" in tokenizer.special_tokens_map:
            # The template used in training.
            tokenizer = tokenizer.with_chat_template(Renderer.from_tokenizer(tokenizer).chat_template)
        tokenizer.save(folder)
        stops = sorted(tokenizer.stop_ids)
        path = folder / "generation_config.json"
        # transformers may have written settings of the model, such as forced first tokens.
        model_settings = json.loads(path.read_text()) if path.is_file() else {}
        settings = {
            **model_settings,
            **(DEFAULT_GENERATION if generation is None else generation),
            "eos_token_id": stops[0] if len(stops) == 1 else stops,
            "pad_token_id": tokenizer.pad_token_id,
        }
        path.write_text(json.dumps(settings, indent=2) + "\n")
        for name, content in (files or {}).items():
            if isinstance(content, str):
                (folder / name).write_text(content, encoding="utf-8")
            elif content.is_dir():
                shutil.copytree(content, folder / name)
            elif content.is_file():
                shutil.copy(content, folder / name)


def _special_ids(hf_config: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    return {name: hf_config[name] for name in special if hf_config.get(name) is not None}
