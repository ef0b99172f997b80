"""Encoder–decoder models (T5, BART, Blenderbot and their like), as transformers computes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from turnwise.core.errors import UserError
from turnwise.models.checkpoint import read_config

PLENTY = 1024  # tokens, for models whose positions are relative and end nowhere


@dataclass(frozen=True)
class EncoderDecoder:
    """A model that reads with an encoder and answers with a decoder.

    Attributes:
        model: transformers' own, ready to answer.
        start_ids: what its decoder begins every answer with.
        source_length: most tokens that the encoder reads.
        target_length: most tokens that the decoder writes.
        vocab_size: its ids run from 0 to this, exclusive.
    """

    model: Any
    start_ids: tuple[int, ...]
    source_length: int
    target_length: int
    vocab_size: int


def is_encoder_decoder(folder: Path) -> bool:
    """Whether a model folder holds one. Raises as `read_config` does."""
    return bool(read_config(folder).get("is_encoder_decoder"))


def load(folder: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> EncoderDecoder:
    """Load one from a Hugging Face folder.

    Raises:
        UserError: transformers is not installed, or cannot load it.
    """
    try:
        from transformers import AutoModelForSeq2SeqLM
    except ImportError:
        raise UserError(
            f"{folder} holds an encoder–decoder model; that needs transformers: pip install 'turnwise[encoder-decoder]'"
        ) from None
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{folder} cannot be loaded: {str(error).splitlines()[0][:300]}") from error
    model = model.to(device).eval()
    settings = model.generation_config
    start = settings.decoder_start_token_id
    if start is None:
        raise UserError(f"{folder} does not say what its decoder begins with: decoder_start_token_id is missing.")
    # Some begin every answer with one more token, which is the same each time and so no part of it.
    forced = settings.forced_bos_token_id
    config = model.config
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or PLENTY
    return EncoderDecoder(
        model=model,
        start_ids=(start,) if forced is None else (start, forced),
        source_length=positions,
        target_length=positions,
        vocab_size=config.vocab_size,
    )
