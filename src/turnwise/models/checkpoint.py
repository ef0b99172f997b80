"""Model folders in the ordinary Hugging Face layout: `config.json` and safetensors, in one file or in shards."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.core.system_memory import check_fits
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import Adapter, load_adapter
from turnwise.models.decoder import Decoder, init_weights
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.families import Family, load_family
from turnwise.models.language_model import ModelKind, segment_mask
from turnwise.models.model_folders import INDEX, read_hf_config
from turnwise.models.safetensors_file import TYPES
from turnwise.models.tensor_files import TensorFiles

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What a new model says of its special tokens: without it transformers would assume those of the family's first one.
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
SHARD_BYTES = 5_000_000_000


@dataclass
class DecoderModel:
    """A decoder and the published config it came with, which is kept so that saving loses nothing (a `Model`)."""

    decoder: Decoder
    hf_config: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[ModelKind] = "decoder"
    supports_packing: ClassVar[bool] = True
    decoder_start_ids: ClassVar[tuple[int, ...]] = ()

    @property
    def module(self) -> Decoder:
        """The decoder."""
        return self.decoder

    @property
    def embedding(self) -> nn.Module:
        """What turns ids into vectors."""
        return self.decoder.embed

    @property
    def context_length(self) -> int:
        """Most tokens it reads."""
        return self.decoder.config.context_length

    @property
    def vocab_size(self) -> int:
        """Its ids run from 0 to this, exclusive."""
        return self.decoder.config.vocab_size

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """Those of the head, or the embeddings it shares."""
        head = self.decoder.head if self.decoder.head is not None else self.decoder.embed
        return list(head.parameters(recurse=False)) if isinstance(head, nn.Embedding | nn.Linear) else []

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Scores over the vocabulary, `(N, V)`."""
        return self.decoder.logits(hidden_NC)

    def hidden_states(
        self,
        ids_BT: Tensor,
        logits_mask_BT: Tensor,
        *,
        segment_ids_BT: Tensor,
        positions_BT: Tensor,
        encoder_ids_BS: Tensor | None = None,
        encoder_mask_BS: Tensor | None = None,
    ) -> Tensor:
        """What the head reads, where it is wanted; only there, since the head is a large part of a small model."""
        assert encoder_ids_BS is encoder_mask_BS is None, "a decoder has no encoder"
        hidden_BTC = self.decoder(ids_BT, positions_BT=positions_BT, mask=segment_mask(segment_ids_BT))
        wanted_NC: Tensor = hidden_BTC[logits_mask_BT]
        return wanted_NC

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a fresh folder."""
        save(self, folder, dtype=dtype, hf_config=hf_config)


def hf_config_dtype(hf_config: Mapping[str, Any]) -> torch.dtype:
    """The type of a model's weights, as its config says; float32 where it does not."""
    return DTYPES.get(str(hf_config.get("dtype") or hf_config.get("torch_dtype")), torch.float32)


def auto_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, float32 elsewhere: without it bfloat16 is far slower, not faster."""
    if device.type == "cuda":
        return torch.bfloat16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and fast else torch.float32


class Checkpoint:
    """A decoder's folder, opened and checked; its weights are read one by one (a `DecoderWeights`).

    Opening compares the config with the headers of all tensors, so that nothing is allocated for a config that the
    files do not bear out.

    Args:
        folder: holds `config.json` and `model.safetensors` (or its shards and their index); or an adapter, which is
            merged into its base.
        dtype: of the weights; None takes the one that the device is quickest at (`auto_dtype`).
        device: where to put them.
        adapter: changes the weights as they are read.

    Raises:
        ModelNotFound: no such folder or no weights in it.
        UserError: an unknown family, a config that asks for what we do not compute, or tensors that are missing, too
            many, quantised or of another shape than the config says.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        adapter: Adapter | None = None,
    ) -> None:
        folder, self.device = Path(folder), torch.device(device)
        if adapter is None and is_adapter(folder):
            adapter = load_adapter(folder)
            folder = adapter.base
        self._folder = folder
        self.dtype = dtype or auto_dtype(self.device)
        self.hf_config = read_hf_config(folder)
        kind = load_family(self.hf_config["model_type"])
        self.config = _decoder_config(kind, self.hf_config, folder)
        files = TensorFiles(folder)
        self._entries = {entry.decoder_name: entry for entry in kind.weight_mappings(self.config)}
        names = [name for entry in self._entries.values() for name in entry.hf_names]
        self.shapes = self._checked_shapes(files)
        files.reject_unread_tensors(names, self.hf_config["model_type"])
        if adapter is not None:
            adapter.reject_unknown_modules(names)
        self._files, self._adapted = files, {} if adapter is None else adapter.changes
        self._get = files.get if adapter is None else adapter.over(files.get)

    def _checked_shapes(self, files: TensorFiles) -> dict[str, torch.Size]:
        """The shape of each of our tensors, which the files bear out."""
        try:
            for entry in self._entries.values():  # before a decoder of so many layers is built
                for name in entry.hf_names:
                    files.header(name)
            with torch.device("meta"):
                shapes = {name: parameter.shape for name, parameter in Decoder(self.config).named_parameters()}
            for decoder_name, entry in self._entries.items():
                for name, expected in zip(entry.hf_names, entry.published_shapes(shapes[decoder_name]), strict=True):
                    if (shape := files.header(name).shape) != expected:
                        raise UserError(f"'{name}' has the shape {shape}, but config.json asks for {expected}.")
        except UserError as error:
            raise UserError(f"{self._folder}: {error}") from error
        except (RuntimeError, OverflowError) as error:
            raise UserError(f"{self._folder}/config.json does not describe a model: {preview(str(error))}.") from error
        return shapes

    @property
    def is_temporary(self) -> bool:
        """Whether `decoder()` makes a new decoder: it does."""
        return True

    def stored_dtype(self, name: str) -> torch.dtype:
        """The widest type of the published parts of one of our tensors; float32 where they are adapted."""
        names = self._entries[name].hf_names
        if any(other.removesuffix(".weight") in self._adapted for other in names):
            return torch.float32
        stored = {getattr(torch, TYPES[self._files.header(other).dtype][0]) for other in names}
        return stored.pop() if len(stored) == 1 else torch.float32

    def tensor(self, name: str) -> Tensor:
        """One of our tensors on the processor, of the type that it is stored in, or float32 where it was adapted."""
        return self._entries[name].from_hf(self._get)

    def decoder(self) -> Decoder:
        """A decoder with all the weights."""
        with torch.device("meta"):
            decoder = Decoder(self.config)
        state = {name: self.tensor(name).to(device=self.device, dtype=self.dtype) for name in self._entries}
        decoder.load_state_dict(state, assign=True)
        return decoder.to(self.device).eval()


def load(
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    adapter: Adapter | None = None,
) -> DecoderModel:
    """Load a decoder from a Hugging Face folder, or from that of an adapter. Arguments and errors of `Checkpoint`."""
    checkpoint = Checkpoint(folder, dtype=dtype, device=device, adapter=adapter)
    if checkpoint.device.type == "cpu":
        numbers = sum(shape.numel() for shape in checkpoint.shapes.values())
        check_fits(numbers * checkpoint.dtype.itemsize, f"The model in {folder}")
    return DecoderModel(checkpoint.decoder(), checkpoint.hf_config)


def read_decoder_config(folder: Path) -> DecoderConfig:
    """The shape of the decoder in a folder. Raises as `load` does."""
    hf_config = read_hf_config(folder)
    return _decoder_config(load_family(hf_config["model_type"]), hf_config, folder)


def _decoder_config(kind: Family, hf_config: Mapping[str, Any], folder: Path) -> DecoderConfig:
    """Our config of a published one."""
    if hf_config.get("quantization_config"):
        raise UserError(f"The weights in {folder} are quantised, which is not supported; use the unquantised model.")
    try:
        return kind.from_hf_config(hf_config)
    except UserError as error:
        raise UserError(f"{folder}/config.json: {error}") from error
    except KeyError as error:
        raise UserError(f"{folder}/config.json lacks {error}.") from error


def create(config: DecoderConfig, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> DecoderModel:
    """A new decoder with random weights; the same seed gives the same weights."""
    decoder = Decoder(config)
    init_weights(decoder, torch.Generator().manual_seed(seed))
    return DecoderModel(decoder.to(dtype), {})


def save(
    model: DecoderModel,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    hf_config: Mapping[str, Any] | None = None,
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
    kind = load_family(config.family)
    dtype = dtype or next(model.decoder.parameters()).dtype
    name = next(key for key, value in DTYPES.items() if value == dtype)
    written = {
        **(model.hf_config or NO_TOKENS | kind.to_hf_config(config)),
        "architectures": [kind.ARCHITECTURE],
        "model_type": config.family,
        "dtype": name,
        **(hf_config or {}),
    }
    for stale in ("torch_dtype", "auto_map"):  # the older name of `dtype`; a pointer to code that is not saved along
        written.pop(stale, None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    decoder_name = dict(model.decoder.named_parameters())
    tensors = {
        name: tensor.detach().to("cpu", dtype)
        for entry in kind.weight_mappings(config)
        for name, tensor in entry.to_hf(decoder_name[entry.decoder_name])
    }
    _save_shards(tensors, folder, shard_bytes)


def _save_file(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors keeps its files to their owner, unlike the others of the folder


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
            _save_file(shards[0], folder / "model.safetensors")
            return
        weight_map = {}
        for i, shard in enumerate(shards, 1):
            file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
            _save_file(shard, folder / file)
            weight_map.update(dict.fromkeys(shard, file))
    except SafetensorError as error:  # it wraps the disk's refusal
        raise OSError(str(error)) from error
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
