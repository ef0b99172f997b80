"""The description of a stored tensor, for safetensors and GGUF files. Does not import torch."""

from dataclasses import dataclass

DTYPES_BY_CODE = {"F32": ("float32", 4), "BF16": ("bfloat16", 2), "F16": ("float16", 2)}  # name in torch, bytes


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Dtype, shape and position of a tensor in its file.

    Attributes:
        dtype: a code of the format, such as "BF16". Codes that `DTYPES_BY_CODE` lacks cannot be read.
        shape: outermost dimension first.
        start: offset of the first byte in the file.
        stop: offset behind the last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
