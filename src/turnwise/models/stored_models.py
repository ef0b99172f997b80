"""Lookup in the store `TURNWISE_HOME/models`, which `turnwise models pull` fills: by name, hub reference and folder."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import UserError
from turnwise.core.json_file import read_json_object
from turnwise.core.settings import Settings

GGUF_FILE = "model.gguf"  # in the folder of a GGUF file, a link to it
CONVERSION_FILE = "gguf_source.json"  # in the same folder: which file it was made from
SOURCE_FILE = "source.json"  # origin, license and hashes of a stored model
MAX_SOURCE_BYTES = 16 * 2**20
HUB_PREFIX = "hf:"
HUB_REFERENCE = re.compile(
    rf"(?:{HUB_PREFIX})?(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./-]+\.gguf))?(?:@(?P<revision>[\w./-]+))?"
)


@dataclass(frozen=True, slots=True)
class HubReference:
    """A model of the Hugging Face hub.

    Attributes:
        repository: ORG/NAME.
        file: the GGUF file; of a split model, the first one. None if the reference does not state it.
        revision: a tag, a branch or a commit. None if the reference does not state it.
    """

    repository: str
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        file = "" if self.file is None else f"/{self.file}"
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{HUB_PREFIX}{self.repository}{file}{revision}"


def parse_hub_reference(text: str) -> HubReference | None:
    """Parse `ORG/NAME`, `ORG/NAME/FILE.gguf`, either with `@REVISION` and after `hf:`; None for another form."""
    match = HUB_REFERENCE.fullmatch(text)
    return None if match is None else HubReference(match["repository"], match["file"], match["revision"])


def stored_model_folder(name: str) -> Path | None:
    """The folder of a stored model, or None if there is none.

    Args:
        name: its name in the store, or a reference of the hub that it was pulled by (see `parse_hub_reference`).

    Raises:
        UserError: several models were pulled from the repository, and the reference does not say which one is meant.
    """
    if not name or name[0] == "." or "\\" in name or "\0" in name or len(name) > 255:
        return None
    if "/" in name:
        reference = parse_hub_reference(name)
        return None if reference is None else _find_hub_model(reference)
    folder = Settings.from_environment().models / name
    return folder if (folder / SOURCE_FILE).is_file() else None


def stored_model_name(folder: Path) -> str | None:
    """The name of the stored model that a folder belongs to, or None.

    The folder is one of the store, or one that was converted from a GGUF file of the store.
    """
    gguf = converted_gguf(folder)
    file = None if gguf is None else gguf.resolve()
    for stored in _stored_folders():
        if stored.resolve() == folder.resolve() or any(path.resolve() == file for path in stored.glob("*.gguf")):
            return stored.name
    return None


def converted_gguf(folder: Path) -> Path | None:
    """The GGUF file that a folder in `TURNWISE_HOME/gguf` was made from, or None for other folders."""
    link = folder / GGUF_FILE
    return folder / link.readlink() if link.is_symlink() and (folder / CONVERSION_FILE).is_file() else None


def converted_folders(folder: Path) -> list[Path]:
    """The folders in `TURNWISE_HOME/gguf` that were made from GGUF files in a folder. Links are not followed."""
    parent = os.path.abspath(folder)  # noqa: PTH100 (`resolve` follows links)
    paths = (path.parent for path in Settings.from_environment().gguf.glob(f"*/*/{CONVERSION_FILE}"))
    return sorted(path for path in paths if (gguf := converted_gguf(path)) is not None and gguf.is_relative_to(parent))


def _stored_folders() -> Iterator[Path]:
    for source in sorted(Settings.from_environment().models.glob(f"[!.]*/{SOURCE_FILE}")):
        yield source.parent


def _find_hub_model(reference: HubReference) -> Path | None:
    """The stored model that was pulled by a reference, else the only one that the reference describes."""
    matches = []
    for folder in _stored_folders():
        names = _hub_references(folder / SOURCE_FILE)
        if reference in names:
            return folder
        if names and _describes(reference, names):
            matches.append(folder)
    if len(matches) > 1:
        names_text = ", ".join(folder.name for folder in matches)
        raise UserError(f"{reference} stands for several models of the store: {names_text}. Use one of these names.")
    return matches[0] if matches else None


def _hub_references(source_file: Path) -> list[HubReference]:
    """The references that a model was pulled by, after the exact one with file and commit; empty for other models.

    A damaged `source.json` counts as one of another model: `turnwise models list` reports it.
    """
    try:
        fields = read_json_object(source_file, max_bytes=MAX_SOURCE_BYTES)
    except UserError:
        return []
    source, others = fields.get("source"), fields.get("references")
    if not isinstance(source, str) or not source.startswith(HUB_PREFIX):
        return []
    texts = [source, *(text for text in (others if isinstance(others, list) else []) if isinstance(text, str))]
    return [parsed for text in texts if (parsed := parse_hub_reference(text)) is not None]


def _describes(reference: HubReference, stored: list[HubReference]) -> bool:
    """True if what a reference states is true of a stored model."""
    return (
        reference.repository == stored[0].repository
        and reference.file in (None, stored[0].file)
        and (reference.revision is None or reference.revision in {name.revision for name in stored})
    )
