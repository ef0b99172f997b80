"""Model folders in the ordinary Hugging Face layout: `config.json` and safetensors, in one file or in shards."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.models.adapters import Adapter, is_adapter, load_adapter
from turnwise.models.config import DecoderConfig
from turnwise.models.decoder import Decoder, init_weights
from turnwise.models.families import Family, family
from turnwise.models.folders import read_config
from turnwise.models.model import Kind, segment_mask

# Stored beside the weights of some checkpoints and computed here, or read from elsewhere.
UNREAD = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", "lm_head.weight")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What a new model says of its special tokens: without it transformers would assume those of the family's first one.
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000


@dataclass
class LoadedModel:
    """A decoder and the published config it came with, which is kept so that saving loses nothing (a `Model`)."""

    decoder: Decoder
    published: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[Kind] = "decoder"
    packs: ClassVar[bool] = True
    start_ids: ClassVar[tuple[int, ...]] = ()

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

    def logits(
        self,
        ids_BT: Tensor,
        wanted_BT: Tensor,
        *,
        segments_BT: Tensor,
        positions_BT: Tensor,
        sources_BS: Tensor | None = None,
        source_mask_BS: Tensor | None = None,
    ) -> Tensor:
        """Scores where they are wanted; only there, since the head is a large part of a small model."""
        assert sources_BS is source_mask_BS is None, "a decoder has no encoder"
        hidden_BTC = self.decoder(ids_BT, positions_BT=positions_BT, mask=segment_mask(segments_BT))
        return self.decoder.logits(hidden_BTC[wanted_BT])

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, published: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a fresh folder."""
        save(self, folder, dtype=dtype, published=published)


def auto_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, float32 elsewhere: without it bfloat16 is far slower, not faster."""
    if device.type == "cuda":
        return torch.bfloat16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and fast else torch.float32


def load(
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    adapter: Adapter | None = None,
) -> LoadedModel:
    """Load a decoder from a Hugging Face folder, or from that of an adapter, which is merged into its base.

    Args:
        folder: holds `config.json` and `model.safetensors` (or its shards and their index); or an adapter.
        dtype: of the weights; None takes the one that the device is quickest at (`auto_dtype`).
        device: where to put them.
        adapter: changes the weights as they are read.

    Raises:
        ModelNotFound: no such folder or no weights in it.
        UserError: an unknown family, a config that asks for what we do not compute, or tensors that are missing, too
            many, quantised or of another shape than the config says.
    """
    folder, device = Path(folder), torch.device(device)
    if adapter is None and is_adapter(folder):
        adapter = load_adapter(folder)
        folder = adapter.base
    published = read_config(folder)
    kind = family(published["model_type"])
    decoder = _decoder_of(kind, published, folder)
    config = decoder.config
    shapes = {name: parameter.shape for name, parameter in decoder.named_parameters()}
    state: dict[str, Tensor] = {}
    dtype = dtype or auto_dtype(device)
    with ExitStack() as stack:
        weights = _Weights(folder, stack)
        get = weights.get if adapter is None else adapter.over(weights.get)
        if adapter is not None:
            adapter.refuse_unknown([name for entry in kind.layout(config) for name in entry.theirs])
        for entry in kind.layout(config):
            try:
                tensor = entry.to_ours(get, shapes[entry.ours])
            except UserError as error:
                raise UserError(f"{folder}: {error}") from error
            state[entry.ours] = tensor.to(device=device, dtype=dtype)
        weights.refuse_unread(published["model_type"])
    decoder.load_state_dict(state, assign=True)
    return LoadedModel(decoder.to(device).eval(), published)


def read_decoder_config(folder: Path) -> DecoderConfig:
    """The shape of the decoder in a folder. Raises as `load` does."""
    published = read_config(folder)
    return _decoder_of(family(published["model_type"]), published, folder).config


def _decoder_of(kind: Family, published: Mapping[str, Any], folder: Path) -> Decoder:
    """A decoder without weights, shaped as the published config says."""
    if published.get("quantization_config"):
        raise UserError(f"The weights in {folder} are quantised, which is not supported; use the unquantised model.")
    try:
        with torch.device("meta"):
            return Decoder(kind.read(published))
    except UserError as error:
        raise UserError(f"{folder}/config.json: {error}") from error
    except KeyError as error:
        raise UserError(f"{folder}/config.json lacks {error}.") from error
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, RuntimeError) as error:
        raise UserError(f"{folder}/config.json does not describe a model: {error}.") from error


@contextmanager
def published_tensors(folder: Path) -> Iterator[Callable[[str], Tensor]]:
    """A reader of the tensors in a folder by their published names.

    Raises:
        ModelNotFound: there are no weights.
        UserError: they are damaged; from the reader: there is no such tensor.
    """
    with ExitStack() as stack:
        yield _Weights(folder, stack).get


class _Weights:
    """The tensors of a folder, read from its safetensors files as they are asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._file_of: dict[str, Any] = {}
        self._read: set[str] = set()
        for path in _weight_files(folder):
            try:
                file = stack.enter_context(safe_open(str(path), framework="pt"))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} is damaged: {error}.") from error
            self._file_of.update(dict.fromkeys(file.keys(), file))

    def get(self, name: str) -> Tensor:
        """The tensor of this name, with or without the wrapper's prefix that some checkpoints leave out."""
        bare = name.removeprefix("model.").removeprefix("transformer.")
        found = name if name in self._file_of else bare
        if found not in self._file_of:
            raise UserError(f"The weights are not complete: the tensor '{name}' is missing.")
        tensor: Tensor = self._file_of[found].get_tensor(found)
        if tensor.dtype not in DTYPES.values():
            raise UserError(f"'{found}' is stored as {tensor.dtype}; quantised weights are not supported.")
        self._read.add(found)
        return tensor

    def refuse_unread(self, kind: str) -> None:
        """Raise where the files hold weights that the family does not know: without them it would compute wrongly."""
        unread = [name for name in self._file_of if name not in self._read and not name.endswith(UNREAD)]
        if unread:
            raise UserError(
                f"{self._folder}: '{unread[0]}' is not part of a {kind} model as config.json describes it"
                + (f", nor are {len(unread) - 1} other tensors." if unread[1:] else ".")
            )


def _weight_files(folder: Path) -> list[Path]:
    names = ["model.safetensors"]
    index = folder / INDEX
    if index.is_file() and not (folder / names[0]).is_file():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            names = sorted({Path(name).name for name in weight_map.values()})  # a shard lies in the folder itself
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index} is not a list of weight files.") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        hint = (
            " Its weights are pickled, which can run code when opened; convert them to safetensors." if pickled else ""
        )
        raise ModelNotFound(f"{folder} holds no complete weights: {', '.join(missing)} is missing.{hint}")
    return [folder / name for name in names]


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
        **(model.published or NO_TOKENS | kind.write(config)),
        "architectures": [kind.ARCHITECTURE],
        "model_type": config.family,
        "dtype": name,
        **(published or {}),
    }
    for stale in ("torch_dtype", "auto_map"):  # the older name of `dtype`; a pointer to code that is not saved along
        written.pop(stale, None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    ours = dict(model.decoder.named_parameters())
    tensors = {
        name: tensor.detach().to("cpu", dtype)
        for entry in kind.layout(config)
        for name, tensor in entry.to_theirs(ours[entry.ours])
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
