"""Reads and writes `demonstrations.json`: dialogues that a model folder adds to every prompt."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from turnwise.core.errors import UserError
from turnwise.core.files import atomic_write
from turnwise.core.json_file import JsonFileModel, preview
from turnwise.core.messages import ROLES, Message
from turnwise.text.rendering.demonstration_selection import DEFAULT_SELECTION, SELECTIONS
from turnwise.text.rendering.demonstrations import Demonstrations
from turnwise.text.tokenization.tokenizer_config import read_fields

DEMONSTRATIONS_FILE = "demonstrations.json"


class _DemonstrationMessage(JsonFileModel):
    role: str = Field(description="a role")
    content: str = Field(description="a text")


class _DemonstrationFields(JsonFileModel):
    shots: Annotated[int, Field(ge=0, le=1000)] = Field(description="a whole number from 0 to 1,000")
    selection: str = Field(DEFAULT_SELECTION, description="the name of a demonstration selection")
    dialogues: list[list[_DemonstrationMessage]] = Field(description="a list of lists of messages")


def read_demonstrations(folder: Path) -> Demonstrations | None:
    """The demonstrations of a folder; None if it has none.

    Raises:
        UserError: the file is not readable JSON, a field is invalid, or a role or the selection is unknown.
    """
    path = folder / DEMONSTRATIONS_FILE
    if not path.is_file():
        return None
    fields = read_fields(path, _DemonstrationFields)
    roles = {message["role"] for dialogue in fields["dialogues"] for message in dialogue}
    if unknown := sorted(roles - ROLES):
        raise UserError(f"{path} does not contain demonstrations: there is no role {preview(unknown[0])}.")
    dialogues = tuple(tuple(Message(m["role"], m["content"]) for m in dialogue) for dialogue in fields["dialogues"])
    selection = fields.get("selection", DEFAULT_SELECTION)
    if not hasattr(SELECTIONS.load(selection), "select"):
        raise UserError(f"{path}: '{selection}' selects no demonstrations for a dialogue.")
    return Demonstrations(dialogues, fields["shots"], selection)


def write_demonstrations(folder: Path, demonstrations: Demonstrations) -> None:
    """Write the demonstrations of a folder."""
    dialogues = [[message.as_dict() for message in dialogue] for dialogue in demonstrations.dialogues]
    fields: dict[str, Any] = {"shots": demonstrations.shots}
    if demonstrations.selection != DEFAULT_SELECTION:
        fields["selection"] = demonstrations.selection
    fields["dialogues"] = dialogues
    atomic_write(folder / DEMONSTRATIONS_FILE, json.dumps(fields, indent=1, ensure_ascii=False) + "\n")
