"""Files of conversations, for export and import."""

from pathlib import Path

from turnwise.core.conversation_trees import ConversationFiles, ExportFormat, ParsedConversations
from turnwise.core.stored_conversations import StoredConversation


class LocalConversationFiles:
    """The `ConversationFiles` port with the data formats of this installation."""

    def parse(self, path: Path, name: str) -> ParsedConversations:
        """Read all conversations of a file."""
        from turnwise.data.tree_files import read_trees

        return read_trees(path, name)

    def write(self, conversation: StoredConversation, folder: str, format: ExportFormat) -> str:
        """A conversation with its messages as text."""
        if format == "markdown":
            from turnwise.data.markdown_transcript import write_transcript

            return write_transcript(conversation)
        from turnwise.data.formats.turnwise import write_tree

        return write_tree(conversation, folder)


_: type[ConversationFiles] = LocalConversationFiles  # the type checker compares it with the port
