"""Model names of the store `TURNWISE_HOME/models`, which `turnwise models pull` fills."""

from pathlib import Path

from turnwise.core.settings import Settings

GGUF_FILE = "model.gguf"  # in the folder of a GGUF file, a link to it
CONVERSION_FILE = "gguf_source.json"  # in the same folder: which file it was made from
SOURCE_FILE = "source.json"  # origin, license and hashes of a stored model


def stored_model_folder(name: str) -> Path | None:
    """The folder of a stored model, or None if there is none of this name."""
    if not name or name[0] == "." or "/" in name or "\\" in name or "\0" in name or len(name) > 255:
        return None
    folder = Settings.from_environment().models / name
    return folder if (folder / SOURCE_FILE).is_file() else None


def stored_model_name(folder: Path) -> str | None:
    """The name of the stored model that a folder belongs to, or None.

    The folder is one of the store, or one that was converted from a GGUF file of the store.
    """
    gguf = converted_gguf(folder)
    file = None if gguf is None else gguf.resolve()
    for source in sorted(Settings.from_environment().models.glob(f"[!.]*/{SOURCE_FILE}")):
        stored = source.parent
        if stored.resolve() == folder.resolve() or any(path.resolve() == file for path in stored.glob("*.gguf")):
            return stored.name
    return None


def converted_gguf(folder: Path) -> Path | None:
    """The GGUF file that a folder in `TURNWISE_HOME/gguf` was made from, or None for other folders."""
    link = folder / GGUF_FILE
    return folder / link.readlink() if link.is_symlink() and (folder / CONVERSION_FILE).is_file() else None
