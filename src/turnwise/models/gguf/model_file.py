"""Opens a GGUF model, which may be split into several files. Does not import torch."""

from pathlib import Path

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.json_file import preview
from turnwise.models.gguf.header import GgufHeader, GgufTensor
from turnwise.models.gguf.header_reader import read_header
from turnwise.models.gguf.metadata import GgufMetadata
from turnwise.models.gguf.shard_names import SHARD_PATTERN, shard_names
from turnwise.models.stored_models import converted_gguf


def read_model(path: Path) -> GgufHeader:
    """The metadata of a model and its tensors, those of all shards of a split one.

    Args:
        path: the file, or the first shard; or the link to it in a converted folder.

    Raises:
        UserError: a file is damaged, is not a language model, or is not the first shard.
        ModelNotFound: a shard is missing.
    """
    header = read_header(path)
    if header.metadata.get("split.no", 0) != 0:
        raise UserError(f"{path} is a later file of a split model; name the first one, NAME-00001-of-0000N.gguf.")
    metadata = GgufMetadata(header)
    kind = metadata.text("general.type", "model")
    if kind != "model" or metadata.architecture == "clip":
        noun = {"mmproj": "an encoder of images or sound", "adapter": "an adapter"}.get(
            "mmproj" if metadata.architecture == "clip" else kind, f"of type {preview(kind)}"
        )
        raise UserError(f"{path} is not a language model but {noun}, which is not supported; name the model's file.")
    num_shards = metadata.integer("split.count", 1)
    if num_shards > 1:
        header = _join_shards(header, num_shards)
    if not header.tensors:
        raise UserError(f"{path} holds no tensors: it is only the vocabulary of a model.")
    return header


def shard_paths(path: Path, num_shards: int) -> list[Path]:
    """The files of a split model, from the name of its first one or the link to it in a converted folder.

    Raises:
        UserError: the name is not that of the first shard, or there are too many.
        ModelNotFound: a shard is missing.
    """
    target = converted_gguf(path.parent) or path
    match = SHARD_PATTERN.fullmatch(target.name)
    if match is None or int(match[3]) != num_shards:
        raise UserError(
            f"{path} is one of {num_shards} files of a model; name them NAME-00001-of-{num_shards:05d}.gguf."
        )
    names = shard_names(target.name)
    for name in names:
        if not target.with_name(name).is_file():
            raise ModelNotFound(f"{path} is one of {num_shards} files of a model, and {name} is missing beside it.")
    return [target.with_name(name) for name in names]


def _join_shards(header: GgufHeader, num_shards: int) -> GgufHeader:
    tensors: dict[str, GgufTensor] = dict(header.tensors)
    for number, path in enumerate(shard_paths(header.path, num_shards)):
        shard = read_header(path) if number else header
        if shard.metadata.get("split.no") != number or shard.metadata.get("split.count") != num_shards:
            raise UserError(f"{path} is not shard {number + 1} of the {num_shards} files of {header.path}.")
        if number == 0:
            continue
        if duplicate := next((name for name in shard.tensors if name in tensors), None):
            raise UserError(f"{path}: the tensor {preview(duplicate)} is in an earlier shard too.")
        tensors.update(shard.tensors)
    return GgufHeader(header.path, header.metadata, tensors)
