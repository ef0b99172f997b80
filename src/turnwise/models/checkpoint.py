"""Model folders in the ordinary Hugging Face layout: `config.json` and safetensors, in one file or in shards."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.models.config import DecoderConfig
from turnwise.models.decoder import Decoder, Rope, init_weights
from turnwise.models.families import family

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000


@dataclass
class LoadedModel:
    """A decoder and the published config it came with, which is kept so that saving loses nothing."""

    decoder: Decoder
    published: dict[str, Any] = field(default_factory=dict)


def read_config(folder: Path) -> dict[str, Any]:
    """The published config of a model folder.

    Raises:
        ModelNotFound: no such folder, or none that holds a model.
    """
    if not folder.is_dir():
        raise ModelNotFound(f"There is no model folder {folder}.")
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(f"{folder} holds no model: config.json is missing.")
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable JSON: {error}.") from error
    if not isinstance(loaded, dict) or "model_type" not in loaded:
        raise UserError(f"{path} does not name a model_type.")
    return loaded


def auto_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, float32 elsewhere: without it bfloat16 is far slower, not faster."""
    if device.type == "cuda":
        return torch.bfloat16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and fast else torch.float32


def load(folder: Path | str, *, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> LoadedModel:
    """Load a decoder from a Hugging Face folder.

    Args:
        folder: holds `config.json` and `model.safetensors` (or its shards and their index).
        dtype: of the weights; None keeps what the file has where the device is quick at it.
        device: where to put them.

    Raises:
        ModelNotFound: no such folder or no weights in it.
        UserError: an unknown family, or tensors that are missing or have another shape than the config says.
    """
    folder, device = Path(folder), torch.device(device)
    published = read_config(folder)
    kind = family(published["model_type"])
    config = _read_family(kind.read, published, folder)
    with torch.device("meta"):
        decoder = Decoder(config)
    wanted = {name: parameter.shape for name, parameter in decoder.named_parameters()}
    state: dict[str, Tensor] = {}
    with ExitStack() as stack:
        where = _open_weights(folder, stack)

        def get(name: str) -> Tensor:
            handle = where.get(name) or where.get(name.removeprefix("model.").removeprefix("transformer."))
            if handle is None:
                raise UserError(f"{folder} is not complete: the tensor '{name}' is missing.")
            found = name if name in handle.keys() else name.removeprefix("model.").removeprefix("transformer.")  # noqa: SIM118
            tensor: Tensor = handle.get_tensor(found)
            return tensor

        for entry in kind.layout(config):
            tensor = entry.to_ours(get).to(device=device, dtype=dtype or auto_dtype(device))
            if tensor.shape != wanted[entry.ours]:
                raise UserError(
                    f"{folder}: '{entry.theirs[0]}' makes a tensor of shape {tuple(tensor.shape)}, but config.json "
                    f"asks for {tuple(wanted[entry.ours])}."
                )
            state[entry.ours] = tensor
    decoder.load_state_dict(state, assign=True)
    if decoder.rope is not None:
        decoder.rope = Rope(config.rope, config.head_dim, config.context_length).to(device)
    decoder.eval()
    return LoadedModel(decoder, published)


def _read_family(read: Any, published: Mapping[str, Any], folder: Path) -> DecoderConfig:
    try:
        config: DecoderConfig = read(published)
    except KeyError as error:
        raise UserError(f"{folder}/config.json lacks {error}.") from error
    return config


def _open_weights(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Tensor name → open safetensors file."""
    files = [folder / "model.safetensors"]
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        files = [folder / name for name in sorted(set(index["weight_map"].values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        hint = (
            " Its weights are pickled, which can run code when opened; convert them to safetensors." if pickled else ""
        )
        raise ModelNotFound(f"{folder} holds no complete weights: {', '.join(missing)} is missing.{hint}")
    where: dict[str, Any] = {}
    for file in files:
        try:
            handle = stack.enter_context(safe_open(str(file), framework="pt"))
        except SafetensorError as error:
            raise UserError(f"{file} is damaged: {error}.") from error
        where.update(dict.fromkeys(handle.keys(), handle))
    return where


def create(config: DecoderConfig, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A new decoder with random weights; the same seed gives the same weights."""
    decoder = Decoder(config)
    init_weights(decoder, torch.Generator().manual_seed(seed))
    return LoadedModel(decoder.to(dtype), {})


def save(
    model: LoadedModel,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    published: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write `config.json` and the weights into `folder`, a fresh one (see `core.files.folder_written_whole`).

    Args:
        model: what to save.
        folder: where to.
        dtype: of the saved weights; None keeps theirs.
        published: keys to add to the config, such as token ids.
        shard_bytes: weights beyond this go into several files with an index.
    """
    config = model.decoder.config
    kind = family(config.family)
    dtype = dtype or next(model.decoder.parameters()).dtype
    name = next(key for key, value in DTYPES.items() if value == dtype)
    written = {
        **(model.published or kind.write(config)),
        "architectures": [kind.ARCHITECTURE],
        "model_type": config.family,
        "dtype": name,
        **(published or {}),
    }
    written.pop("torch_dtype", None)  # the older name of `dtype`
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    ours = dict(model.decoder.named_parameters())
    tensors = {
        name: tensor.detach().to("cpu", dtype)
        for entry in kind.layout(config)
        for name, tensor in entry.to_theirs(ours[entry.ours])
    }
    _save_shards(tensors, folder, shard_bytes)


def _save_shards(tensors: dict[str, Tensor], folder: Path, shard_bytes: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    try:
        if len(shards) == 1:
            save_file(shards[0], str(folder / "model.safetensors"), metadata={"format": "pt"})
            return
        weight_map = {}
        for i, shard in enumerate(shards, 1):
            file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
            save_file(shard, str(folder / file), metadata={"format": "pt"})
            weight_map.update(dict.fromkeys(shard, file))
    except SafetensorError as error:  # it wraps the disk's refusal
        raise OSError(str(error)) from error
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
