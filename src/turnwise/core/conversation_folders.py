"""The folder port: folders of conversations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

NO_FOLDER = ""  # instead of a folder id: conversations outside of folders
MAX_FOLDER_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of conversations.

    Attributes:
        id: id.
        name: name; several folders may have the same.
        created: Unix time of creation, in seconds.
        owner: name of the API key that created it; None if none was needed.
        num_conversations: number of conversations in it.
    """

    id: str
    name: str
    created: float
    owner: str | None = None
    num_conversations: int = 0


class FolderStore(Protocol):
    """Stores folders. Errors and visibility are those of the `ConversationStore`."""

    def create(self, name: str) -> Folder:
        """Create a folder."""

    def list(self) -> Sequence[Folder]:
        """All folders, by name."""

    def rename(self, folder_id: str, name: str) -> Folder:
        """Set the name. Raises `NotFound`."""

    def delete(self, folder_id: str) -> None:
        """Delete a folder. Its conversations stay, outside of folders. Raises `NotFound`."""
