"""Reads the bytes of tensors in GGUF files. Does not import torch.

The file is neither mapped nor read as a whole: mapped pages count as memory of the process, which would hold the model
twice while it is converted.
"""

import math

import numpy as np

from turnwise.core.errors import UserError
from turnwise.models.gguf.header import GgufTensor


def num_rows(tensor: GgufTensor) -> int:
    """Number of rows: vectors along the innermost dimension. Blocks never span two of them."""
    return math.prod(tensor.shape[:-1])


def read_rows(tensor: GgufTensor, start: int, stop: int) -> np.ndarray:
    """The bytes of rows `start` to `stop`, `(rows, bytes per row)`, in new memory.

    Raises:
        UserError: the file cannot be read or was truncated after it was opened.
    """
    row_bytes = tensor.num_bytes // num_rows(tensor)
    rows = np.empty((stop - start, row_bytes), dtype=np.uint8)
    try:
        with tensor.path.open("rb", buffering=0) as file:
            file.seek(tensor.start + start * row_bytes)
            view = rows.reshape(-1).data
            while view:
                count = file.readinto(view[: 2**28])
                if not count:
                    raise UserError(f"{tensor.path} is damaged: it is truncated.")
                view = view[count:]
    except OSError as error:
        raise UserError(f"{tensor.path} cannot be read: {error.strerror or error}.") from error
    return rows
