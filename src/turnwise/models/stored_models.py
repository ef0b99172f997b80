"""Model names of the store `TURNWISE_HOME/models`, which `turnwise models pull` fills."""

from pathlib import Path

from turnwise.core.settings import Settings

SOURCE_FILE = "source.json"  # origin, license and hashes of a stored model


def stored_model_folder(name: str) -> Path | None:
    """The folder of a stored model, or None if there is none of this name."""
    if not name or name[0] == "." or "/" in name or "\\" in name or "\0" in name or len(name) > 255:
        return None
    folder = Settings.from_environment().models / name
    return folder if (folder / SOURCE_FILE).is_file() else None


def stored_model_name(folder: Path) -> str | None:
    """The name of the stored model in a folder, or None if the folder is not in the store."""
    stored = stored_model_folder(folder.name)
    return folder.name if stored is not None and stored.resolve() == folder.resolve() else None
