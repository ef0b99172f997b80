"""Creates a scenario's folder from the commented skeleton."""

from importlib import resources
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from turnwise.core.errors import InvalidParameter
from turnwise.core.files import atomic_directory, path_exists
from turnwise.scenarios.field_types import Name
from turnwise.scenarios.folder_snapshot import read_folder

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def skeleton_folder() -> Path:
    """The folder of the skeleton, which is a valid scenario."""
    return Path(str(resources.files("turnwise.scenarios").joinpath("skeleton")))


def create_scenario(collection: Path, name: str) -> Path:
    """Write the skeleton to `collection/name` and return this folder.

    Raises:
        InvalidParameter: the name is invalid, or the folder exists.
        SaveFailed: a file cannot be written.
    """
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise InvalidParameter(
            "name", f"'{name[:60]}' is no name of a scenario: use lower-case letters, digits and underscores."
        ) from error
    folder = collection / name
    if path_exists(folder):
        raise InvalidParameter("name", f"{folder} exists already. Choose another name.")
    with atomic_directory(folder) as temporary:
        for path, content in read_folder(skeleton_folder()).files.items():
            target = temporary / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return folder
