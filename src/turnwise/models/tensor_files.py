"""The tensors of a model folder by their published names, in one safetensors file or in shards."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.model_folders import weight_files
from turnwise.models.safetensors_file import TYPES, SafetensorsFile, TensorHeader

if TYPE_CHECKING:
    from torch import Tensor

# Stored beside the weights of some checkpoints and computed here, or read from elsewhere.
UNREAD = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", "lm_head.weight")


class TensorFiles:
    """The tensors of a folder: headers read and checked at once, data when it is asked for.

    Raises:
        ModelNotFound: there are no weights, or a shard is missing.
        UserError: a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file_of: dict[str, SafetensorsFile] = {}
        for path in weight_files(folder):
            file = SafetensorsFile(path)
            if twice := next((name for name in file.tensors if name in self._file_of), None):
                raise UserError(f"{folder}: {preview(twice)} is in two of the weight files.")
            self._file_of.update(dict.fromkeys(file.tensors, file))

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._file_of)

    @property
    def largest_dimension(self) -> int:
        """The largest size in any of the shapes."""
        return max((size for name, file in self._file_of.items() for size in file.tensors[name].shape), default=0)

    @property
    def numbers(self) -> int:
        """How many numbers all tensors have together."""
        return sum(math.prod(header.shape) for name, file in self._file_of.items() for header in [file.tensors[name]])

    def header(self, name: str) -> TensorHeader:
        """Type and shape of a tensor that can be read. Raises `UserError` where there is none, or it is quantised."""
        stored = self._stored_name(name)
        header = self._file_of[stored].tensors[stored]
        if header.dtype not in TYPES:
            raise UserError(f"'{stored}' is stored as {header.dtype}; quantised weights are not supported.")
        return header

    def get(self, name: str) -> "Tensor":
        """The tensor of this name. Raises as `header` does, and where the file changed meanwhile."""
        stored = self._stored_name(name)
        return self._file_of[stored].read(stored)

    def _stored_name(self, name: str) -> str:
        """With or without the wrapper's prefix, which some checkpoints leave out."""
        stored = name if name in self._file_of else name.removeprefix("model.").removeprefix("transformer.")
        if stored not in self._file_of:
            raise UserError(f"The weights are not complete: the tensor '{name}' is missing.")
        return stored

    def reject_unread_tensors(self, names: Sequence[str], kind: str) -> None:
        """Raise where the files hold weights that the family does not know: without them it would compute wrongly.

        Args:
            names: all that the family reads.
            kind: its name.
        """
        read = {self._stored_name(name) for name in names}
        unread = [name for name in self._file_of if name not in read and not name.endswith(UNREAD)]
        if unread:
            raise UserError(
                f"{self._folder}: '{unread[0]}' is not part of a {kind} model as config.json describes it"
                + (f", nor are {len(unread) - 1} other tensors." if unread[1:] else ".")
            )
