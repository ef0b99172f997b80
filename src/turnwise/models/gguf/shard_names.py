"""Names of the files of a split GGUF model: NAME-00001-of-0000N.gguf. Does not import numpy."""

import re

from turnwise.core.errors import UserError

SHARD_PATTERN = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\.gguf)", re.IGNORECASE)
MAX_SHARDS = 1000


def shard_names(first: str) -> list[str]:
    """The names of all files of a model, from that of its first file; for a model in one file, this name alone.

    Raises:
        UserError: the name is that of a later file, or of one of too many.
    """
    match = SHARD_PATTERN.fullmatch(first)
    if match is None:
        return [first]
    num_shards = int(match[3])
    if not 1 <= num_shards <= MAX_SHARDS:
        raise UserError(f"{first} is one of {num_shards:,} files of a model; at most {MAX_SHARDS:,} are read.")
    names = [f"{match[1]}-{number:05d}-of-{match[3]}{match[4]}" for number in range(1, num_shards + 1)]
    if first != names[0]:
        raise UserError(f"{first} is one of {num_shards} files of a model; name the first one, {names[0]}.")
    return names


def is_later_shard(name: str) -> bool:
    """True for the second and all later files of a split model."""
    match = SHARD_PATTERN.fullmatch(name)
    return match is not None and int(match[2]) != 1


def gguf_model_name(file_name: str) -> str:
    """The name of the model in a GGUF file: the file's name without its suffix and without the number of a shard."""
    match = SHARD_PATTERN.fullmatch(file_name)
    if match is not None:
        return match[1]
    return file_name[: -len(".gguf")] if file_name.lower().endswith(".gguf") else file_name
