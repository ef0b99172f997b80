"""Reads YAML files written by people: repeated keys are errors, and errors name the file and the line.

A file is checked before its values are built: PyYAML's C loader overflows the stack of the process on deeply nested
input, and aliases of aliases (`&a`, `*a`) can stand for billions of values.
"""

from pathlib import Path
from typing import Any

import yaml

from turnwise.core.errors import InvalidData

MAX_DEPTH = 64
MAX_VALUES = 1_000_000  # with every alias counted as the values that it stands for
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times faster


def read_yaml(path: str | Path, kind: str) -> Any:
    """Return the value in a YAML file; error messages call the file `kind`, such as "grammar". Raises `InvalidData`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidData(f"Could not read the {kind} {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path} is not UTF-8: byte {error.start} cannot be decoded. Save it as UTF-8.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return the value in a YAML text; error messages start with `name`. Raises `InvalidData`."""
    try:
        _check_size(text, name)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            _reject_repeated_keys(root, name)
            return loader.construct_document(root) if root else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InvalidData(f"{name} is not valid YAML: {error}") from error
    except InvalidData:
        raise
    except ValueError as error:  # a date such as 2026-02-31, or a number with thousands of digits
        raise InvalidData(f"{name} has a value that cannot be read: {error}.") from error


def _check_size(text: str, name: str) -> None:
    """Raise `InvalidData` if a YAML text is nested too deeply or has too many values."""
    sizes: dict[str, int] = {}  # values of a node with an anchor
    starts: list[tuple[str | None, int]] = []  # anchor of every open collection, and the values before it
    num_values = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionStartEvent):
            starts.append((event.anchor, num_values))
            if len(starts) > MAX_DEPTH:
                raise InvalidData(f"{name}, line {line}: the text is nested more than {MAX_DEPTH} levels deep.")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = starts.pop()
            if anchor is not None:
                sizes[anchor] = num_values - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in starts):
                raise InvalidData(f"{name}, line {line}: the alias '*{event.anchor}' contains itself.")
            num_values += sizes.get(event.anchor or "", 1)
        num_values += isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if num_values > MAX_VALUES:
            raise InvalidData(f"{name}, line {line}: the text has more than {MAX_VALUES:,} values.")


def _reject_repeated_keys(node: Any, name: str) -> None:
    """Raise `InvalidData` for a repeated key. PyYAML would silently drop the first one."""
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidData(f"{name}, line {key.start_mark.line + 1}: a key must be text, not a list or mapping.")
            if key.value in keys:
                raise InvalidData(f"{name}, line {key.start_mark.line + 1}: the key '{key.value}' occurs twice.")
            keys.add(key.value)
            _reject_repeated_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _reject_repeated_keys(child, name)
