"""Reads YAML files written by people: repeated keys are errors, and errors name the file and the line."""

from pathlib import Path
from typing import Any

import yaml

from turnwise.core.errors import InvalidData


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
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)  # the C loader is ten times faster
    try:
        root = loader.get_single_node()
        _reject_repeated_keys(root, name)
        return loader.construct_document(root) if root else None
    except yaml.YAMLError as error:
        raise InvalidData(f"{name} is not valid YAML: {error}") from error
    finally:
        loader.dispose()


def _reject_repeated_keys(node: Any, name: str) -> None:
    """Raise `InvalidData` for a repeated key. PyYAML would silently drop the first one."""
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if key.value in keys:
                raise InvalidData(f"{name}, line {key.start_mark.line + 1}: the key '{key.value}' occurs twice.")
            keys.add(key.value)
            _reject_repeated_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _reject_repeated_keys(child, name)
