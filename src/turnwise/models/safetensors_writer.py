"""Writes safetensors files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

if TYPE_CHECKING:
    from torch import Tensor  # torch is imported only to write its tensors


def save_safetensors(tensors: "Mapping[str, Tensor] | Mapping[str, NDArray[Any]]", path: Path) -> None:
    """Write a safetensors file that transformers opens and that every user may read.

    Args:
        tensors: contiguous tensors on the CPU, or arrays of numpy, by name.
        path: the file.

    Raises:
        OSError: a write failed, for example because the disk is full.
    """
    arrays = {name: value for name, value in tensors.items() if isinstance(value, np.ndarray)}
    torch_tensors = {name: value for name, value in tensors.items() if not isinstance(value, np.ndarray)}
    try:
        if arrays:
            from safetensors.numpy import save_file as save_arrays

            save_arrays(arrays, str(path), metadata={"format": "pt"})
        else:
            from safetensors.torch import save_file as save_tensors

            save_tensors(torch_tensors, str(path), metadata={"format": "pt"})
    except SafetensorError as error:  # safetensors wraps errors of the disk
        raise OSError(str(error)) from error
    path.chmod(0o644)  # safetensors makes its files readable by their owner only
