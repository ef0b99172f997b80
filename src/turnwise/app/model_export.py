"""Writes a model in another format: as a GGUF file, quantized with or without calibration texts, or as a Hugging Face
folder."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.model_store.store import ModelStore
from turnwise.app.model_store.stored_model import DamagedModel
from turnwise.app.scope_files import reject_scope
from turnwise.core.errors import InvalidData, UserError
from turnwise.core.messages import Conversation
from turnwise.data.grammar.expand import expand
from turnwise.data.prompts import load_small_talk
from turnwise.data.sources import read_source
from turnwise.models.generation_config import read_generation_config
from turnwise.models.model_kind import full_model_folder, is_native
from turnwise.models.stored_models import stored_model_name
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from turnwise.models.checkpoint import Checkpoint
    from turnwise.models.gguf.tokenizer_writer import GgufTokenizer
    from turnwise.models.gguf.writer import GgufType
    from turnwise.models.quantized_blocks import QuantizedBlocks

CALIBRATION_TOKENS = 8192
MAX_SHARD_BYTES = 1_000_000_000  # of a converted model: the memory that a conversion takes
SEQUENCE_LENGTH = 256  # tokens of a calibration sequence, within the model's context
NUM_BUNDLED_DIALOGUES = 400  # small talk of the package, if no calibration file is given

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A written file.

    Attributes:
        path: the file.
        num_bytes: its size.
        calibration_tokens: tokens that the matrices were quantized with; 0 without calibration.
    """

    path: Path
    num_bytes: int
    calibration_tokens: int


def export_gguf(
    model: str,
    path: Path,
    gguf_type: "GgufType",
    *,
    calibration: Path | None = None,
    calibrate: bool = False,
    calibration_tokens: int = CALIBRATION_TOKENS,
    on_progress: OnProgress = lambda *_: None,
) -> ExportResult:
    """Write a GGUF file; an adapter is merged into its base model.

    Args:
        model: folder or name of a decoder of our own families.
        path: the new file.
        gguf_type: type of the file.
        calibration: dialogues or texts for `calibrate`. Default: small talk of the package.
        calibrate: quantize with second-order information (GPTQ) from calibration texts.
        calibration_tokens: tokens to use of them.
        on_progress: called with the number of finished matrices and their total.

    Raises:
        UserError: the model cannot be written as GGUF.
        InvalidData: the calibration file has too little text.
        SaveFailed: a write failed.
    """
    import torch

    from turnwise.models.checkpoint import Checkpoint
    from turnwise.models.gguf.writer import write_gguf

    folder = resolve_model_folder(model)
    reject_scope(folder, "written as GGUF")
    if not is_native(folder):
        raise UserError(f"{folder}: only decoders that Turnwise computes itself can be written as GGUF.")
    tokenizer = Tokenizer.load(folder, full_model_folder(folder))
    weights = Checkpoint(folder, dtype=torch.float32)
    length = min(SEQUENCE_LENGTH, weights.config.context_length)
    ids_BT = _calibration_ids(tokenizer, calibration, calibration_tokens, length) if calibrate else None
    write_gguf(
        path,
        weights,
        gguf_type,
        _quantized_tensors(weights, gguf_type, ids_BT, on_progress),
        _gguf_tokenizer(tokenizer),
        {"name": folder.resolve().name, **_license(full_model_folder(folder))},
    )
    return ExportResult(path, path.stat().st_size, 0 if ids_BT is None else ids_BT.numel())


def convert_model(model: str, folder: Path, dtype_name: str = "auto") -> str:
    """Write a model as a Hugging Face folder, one shard of weights at a time; an adapter is merged.

    Args:
        model: GGUF file, folder or name of a decoder of our own families.
        folder: the new folder.
        dtype_name: dtype of the weights. "auto": bfloat16 if all tensors are stored in it, else float32.

    Returns:
        The name of the dtype.

    Raises:
        UserError: the model is not a decoder of our own families.
        SaveFailed: a write failed.
    """
    import torch

    from turnwise.models.checkpoint import Checkpoint
    from turnwise.models.checkpoint_writer import save_weights
    from turnwise.models.dtypes import DTYPES
    from turnwise.training.export import export_folder

    source = resolve_model_folder(model)
    reject_scope(source, "converted")
    if not is_native(source):
        raise UserError(f"{source}: only decoders that Turnwise computes itself can be converted.")
    weights = Checkpoint(source, dtype=torch.float32, dequantize=True)
    if dtype_name == "auto":
        is_bfloat16 = all(weights.stored_dtype(name) == torch.bfloat16 for name in weights.shapes)
        dtype_name = "bfloat16" if is_bfloat16 else "float32"
    generation = read_generation_config(source) or {}  # a conversion adds no parameters of its own
    with export_folder(folder, Tokenizer.load(source, full_model_folder(source)), generation=generation) as new:
        save_weights(
            weights, new, dtype=DTYPES[dtype_name], hf_config=weights.hf_config, max_shard_bytes=MAX_SHARD_BYTES
        )
    return dtype_name


def _quantized_tensors(
    weights: "Checkpoint", gguf_type: "GgufType", ids_BT: "Tensor | None", on_progress: OnProgress
) -> Iterator[tuple[str, "Tensor | QuantizedBlocks"]]:
    """All tensors of a decoder, in the order and the formats of `block_formats`."""
    from turnwise.models.block_quantization import quantize_matrix
    from turnwise.models.calibration import quantize_layers
    from turnwise.models.gguf.writer import block_formats

    formats = block_formats(weights, gguf_type)
    num_quantized = sum(block_format is not None for block_format in formats.values())
    num_done = 0
    for name, block_format in formats.items():
        if block_format is None:
            yield name, weights.tensor(name)
        elif not name.startswith("layers."):
            yield name, quantize_matrix(weights.tensor(name), block_format, name)
            num_done += 1
            on_progress(num_done, num_quantized)
    for name, blocks in quantize_layers(weights, ids_BT, formats):
        yield name, blocks
        num_done += 1
        on_progress(num_done, num_quantized)


def _gguf_tokenizer(tokenizer: Tokenizer) -> "GgufTokenizer":
    from turnwise.models.gguf.tokenizer_writer import GgufTokenizer

    named_ids = {name: tokenizer.token_to_id(token) for name, token in tokenizer.special_tokens_map.items()}
    prefix_ids, suffix_ids = tokenizer.added_ids
    return GgufTokenizer(
        content=json.loads(tokenizer.backend.to_str()),
        role_ids={name.removesuffix("_token"): id for name, id in named_ids.items() if id is not None},
        prefix_ids=prefix_ids,
        suffix_ids=suffix_ids,
        stop_ids=tokenizer.stop_ids,
        chat_template=tokenizer.chat_template,
    )


def _calibration_ids(tokenizer: Tokenizer, path: Path | None, num_tokens: int, length: int) -> "Tensor":
    """Calibration texts as sequences of equal length, `(B, T)`: a seeded sample of all sequences."""
    import torch

    renderer = Renderer.from_tokenizer(tokenizer)
    items = expand(load_small_talk(), NUM_BUNDLED_DIALOGUES, seed=0) if path is None else read_source(path)
    texts = (
        renderer.render(item.messages).ids if isinstance(item, Conversation) else tokenizer.encode(item.text)
        for item in items
    )
    ids = list(islice(chain.from_iterable(texts), 16 * num_tokens))
    starts = list(range(0, len(ids) - length + 1, length))
    if not starts:
        raise InvalidData(f"{path} has {len(ids)} tokens; calibration needs at least {length}.")
    random.Random(0).shuffle(starts)
    return torch.tensor([ids[start : start + length] for start in starts[: max(1, num_tokens // length)]])


def _license(folder: Path) -> dict[str, str]:
    """The license that the store states for the model in a folder; empty if it is not known."""
    name = stored_model_name(folder)
    try:
        stored = None if name is None else ModelStore().get(name)
    except DamagedModel:
        stored = None
    return {} if stored is None or stored.license == "unknown" else {"license": stored.license}
