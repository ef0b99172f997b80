"""YAML files that people write for us: read strictly, and errors name the file and the line."""

from pathlib import Path
from typing import Any

import yaml

from turnwise.core.errors import InvalidData


def read_yaml(path: str | Path, what: str) -> Any:
    """What a YAML file holds; `what` is what messages call such a file. Raises `InvalidData`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidData(f"Could not read the {what} {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path} is not UTF-8: byte {error.start} cannot be read. Save it as UTF-8.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """What a YAML text holds; `name` is what messages call it. A key that stands twice is an error: `InvalidData`."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)  # the C loader is ten times faster
    try:
        root = loader.get_single_node()
        _refuse_repeated_keys(root, name)
        return loader.construct_document(root) if root else None
    except yaml.YAMLError as error:
        raise InvalidData(f"{name} is not valid YAML: {error}") from error
    finally:
        loader.dispose()


def _refuse_repeated_keys(node: Any, name: str) -> None:
    """YAML readers keep the last of two equal keys; a topic that vanished unseen is worse than an error."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise InvalidData(f"{name}, line {key.start_mark.line + 1}: '{key.value}' stands here a second time.")
            seen.add(key.value)
            _refuse_repeated_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repeated_keys(child, name)
