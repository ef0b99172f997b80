"""Decoders in Hugging Face folders: reading weights one by one, loading and saving whole models, and creating new
ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.core.system_memory import check_fits
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import Adapter, load_adapter
from turnwise.models.checkpoint_writer import save
from turnwise.models.decoder import Decoder, init_weights
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.dtypes import auto_dtype
from turnwise.models.families import Family, load_family
from turnwise.models.model_folders import read_hf_config
from turnwise.models.quantized_blocks import QuantizedBlocks
from turnwise.models.tensor_files import TensorFiles
from turnwise.models.tensor_header import DTYPES_BY_CODE

__all__ = ["Checkpoint", "create", "load", "read_decoder_config", "save"]


class Checkpoint:
    """The folder of a decoder, whose weights are read one by one (implements `DecoderWeights`).

    The constructor compares the config with the headers of all tensors, so that no memory is allocated for sizes that
    the files do not have.

    Args:
        folder: holds `config.json` and `model.safetensors` or its shards with their index; or a LoRA adapter, which is
            merged into its base model.
        dtype: dtype to compute with. Default: the fastest of the device (`auto_dtype`).
        device: device to compute on.
        adapter: merged into the weights when they are read.
        dequantize: do not use matrices in block formats as they are stored: `quantized` returns None.

    Raises:
        ModelNotFound: the folder does not exist or has no weights.
        UserError: the family or a setting of the config is not supported; tensors are missing, unknown, quantized, or
            have another shape than the config says.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        adapter: Adapter | None = None,
        dequantize: bool = False,
    ) -> None:
        self._dequantizes = dequantize
        folder, self.device = Path(folder), torch.device(device)
        if adapter is None and is_adapter(folder):
            adapter = load_adapter(folder)
            folder = adapter.base
        self._folder = folder
        self.dtype = dtype or auto_dtype(self.device)
        self.hf_config = read_hf_config(folder)
        model_family = load_family(self.hf_config["model_type"])
        self.config = _decoder_config(model_family, self.hf_config, folder)
        files = TensorFiles(folder)
        self._mappings = {mapping.decoder_name: mapping for mapping in model_family.weight_mappings(self.config)}
        hf_names = [name for mapping in self._mappings.values() for name in mapping.hf_names]
        self.shapes = self._check_shapes(files)
        files.reject_unread_tensors(hf_names, self.hf_config["model_type"])
        if adapter is not None:
            adapter.reject_unknown_modules(hf_names)
        self._files, self._adapted_modules = files, {} if adapter is None else adapter.weights
        self._get_tensor = files.get if adapter is None else adapter.merging_reader(files.get)

    def _check_shapes(self, files: TensorFiles) -> dict[str, torch.Size]:
        """The shape of each of our tensors, after comparing them with the files."""
        try:
            # First check that all tensors exist: a config with too many layers would take long to build.
            for mapping in self._mappings.values():
                for name in mapping.hf_names:
                    files.header(name)
            with torch.device("meta"):
                shapes = {name: parameter.shape for name, parameter in Decoder(self.config).named_parameters()}
            for decoder_name, mapping in self._mappings.items():
                for name, expected in zip(mapping.hf_names, mapping.hf_shapes(shapes[decoder_name]), strict=True):
                    if (shape := files.header(name).shape) != expected:
                        raise UserError(f"'{name}' has the shape {shape}, but config.json says {expected}.")
        except UserError as error:
            raise UserError(f"{self._folder}: {error}") from error
        except (RuntimeError, OverflowError) as error:
            raise UserError(f"{self._folder}/config.json does not describe a model: {preview(str(error))}.") from error
        return shapes

    @property
    def is_temporary(self) -> bool:
        """True: `decoder()` creates a new decoder."""
        return True

    def stored_dtype(self, name: str) -> torch.dtype:
        """The dtype that `tensor` returns; float32 if an adapter changes the tensor or its parts differ in dtype."""
        hf_names = self._mappings[name].hf_names
        if self._is_adapted(name):
            return torch.float32
        dtypes = {getattr(torch, DTYPES_BY_CODE[self._files.header(hf_name).dtype][0]) for hf_name in hf_names}
        return dtypes.pop() if len(dtypes) == 1 else torch.float32

    def tensor(self, name: str) -> Tensor:
        """One of our tensors on the CPU, in its stored dtype or, if an adapter changes it, in float32."""
        return self._mappings[name].from_hf(self._get_tensor)

    def block_formats(self, name: str) -> tuple[str, ...] | None:
        """Formats of the blocks that `quantized` returns, or None."""
        if self._dequantizes:
            return None
        hf_names = self._mappings[name].hf_names
        formats = tuple(f for hf_name in hf_names if (f := self._files.block_format(hf_name)) is not None)
        return formats if len(formats) == len(hf_names) and not self._is_adapted(name) else None

    def quantized(self, name: str) -> tuple[QuantizedBlocks, ...] | None:
        """The blocks of one of our matrices, one entry per checkpoint tensor that it is stacked from.

        None if one of them is not stored in blocks, an adapter changes it, or `dequantize` is set.
        """
        if self.block_formats(name) is None:
            return None
        matrices = (self._files.quantized(hf_name) for hf_name in self._mappings[name].hf_names)
        return tuple(blocks for blocks in matrices if blocks is not None)

    def _is_adapted(self, name: str) -> bool:
        modules = (hf_name.removesuffix(".weight") for hf_name in self._mappings[name].hf_names)
        return any(module in self._adapted_modules for module in modules)

    def decoder(self) -> Decoder:
        """A decoder with all weights."""
        with torch.device("meta"):
            decoder = Decoder(self.config)
        state_dict = {name: self.tensor(name).to(device=self.device, dtype=self.dtype) for name in self._mappings}
        decoder.load_state_dict(state_dict, assign=True)
        return decoder.to(self.device).eval()


def load(
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    adapter: Adapter | None = None,
) -> DecoderModel:
    """Load a decoder from a Hugging Face folder or a LoRA adapter. Arguments and errors as for `Checkpoint`.

    Raises:
        UserError: also if the memory is too small.
    """
    checkpoint = Checkpoint(folder, dtype=dtype, device=device, adapter=adapter)
    if checkpoint.device.type == "cpu":
        num_elements = sum(shape.numel() for shape in checkpoint.shapes.values())
        check_fits(num_elements * checkpoint.dtype.itemsize, f"The model in {folder}")
    return DecoderModel(checkpoint.decoder(), checkpoint.hf_config)


def create(config: DecoderConfig, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> DecoderModel:
    """Create a decoder with random weights; the same seed gives the same weights."""
    decoder = Decoder(config)
    init_weights(decoder, torch.Generator().manual_seed(seed))
    return DecoderModel(decoder.to(dtype), {})


def read_decoder_config(folder: Path) -> DecoderConfig:
    """The config of the decoder in a folder. Raises as `Checkpoint` does."""
    hf_config = read_hf_config(folder)
    return _decoder_config(load_family(hf_config["model_type"]), hf_config, folder)


def _decoder_config(model_family: Family, hf_config: Mapping[str, Any], folder: Path) -> DecoderConfig:
    if hf_config.get("quantization_config"):
        raise UserError(f"The weights in {folder} are quantized, which is not supported; use the unquantized model.")
    try:
        return model_family.from_hf_config(hf_config)
    except UserError as error:
        raise UserError(f"{folder}/config.json: {error}") from error
    except KeyError as error:
        raise UserError(f"{folder}/config.json lacks {error}.") from error
