"""Bodies of the routes of `/v1/conversations` and `/v1/folders`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, model_validator

from turnwise.core.conversation_folders import MAX_FOLDER_NAME_CHARS
from turnwise.core.errors import InvalidParameter
from turnwise.core.stored_conversations import ConversationChanges
from turnwise.server.schema.conversation_settings import ConversationSettings
from turnwise.server.schema.request_field import RequestBody

MAX_EXPORTED = 1000  # conversations that an export can name


def _one_line(value: Any) -> Any:
    """Replace white space by single spaces."""
    return " ".join(value.split()) if isinstance(value, str) else value


MAX_TITLE_CHARS = MAX_MODEL_CHARS = 200
Title = Annotated[StrictStr, BeforeValidator(_one_line), Field(max_length=MAX_TITLE_CHARS)]
Id = Annotated[StrictStr, Field(max_length=100)]


class ConversationCreate(RequestBody):
    """A new conversation."""

    title: Annotated[Title, Field(description="If empty, it is taken from the first message.")] = ""
    model: Annotated[StrictStr, Field(max_length=MAX_MODEL_CHARS)] = "latest"
    auto_title: Annotated[
        StrictBool,
        Field(description="The model may replace the title after the first answer, unless it was changed by then."),
    ] = False
    folder_id: Annotated[Id | None, Field(description="Folder of the conversation.")] = None
    settings: Annotated[ConversationSettings | None, Field(description="Settings of the conversation.")] = None


class ConversationUpdate(RequestBody):
    """Changes of a conversation: one or several of the fields."""

    title: Annotated[Title | None, Field(min_length=1)] = None
    head: Annotated[
        StrictStr | None,
        Field(max_length=100, description="Show the branch of this message; the head becomes its latest descendant."),
    ] = None
    pinned: Annotated[StrictBool | None, Field(description="Keep it at the top of the list.")] = None
    folder_id: Annotated[Id | None, Field(description='Move it to this folder; "" takes it out.')] = None
    settings: Annotated[
        ConversationSettings | None, Field(description="Replaces all settings; {} removes them.")
    ] = None  # fmt: skip

    @model_validator(mode="after")
    def _check_not_empty(self) -> "ConversationUpdate":
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise InvalidParameter("title", "Send a 'title' or a 'head', 'pinned', 'folder_id' or 'settings'.")
        return self

    @property
    def changes(self) -> ConversationChanges:
        """The changes."""
        settings = None if self.settings is None else self.settings.as_dict()
        return ConversationChanges(self.title, self.pinned, self.folder_id, settings, self.head)


class ConversationFork(RequestBody):
    """A copy of a branch."""

    message_id: Annotated[StrictStr, Field(max_length=100, description="Last message of the copy.")]
    title: Annotated[Title, Field(description="Default: the title of the conversation.")] = ""


class ConversationExport(RequestBody):
    """Which conversations to write, and how."""

    format: Annotated[
        Literal["jsonl", "markdown"],
        Field(description="'jsonl' has all branches and can be imported; 'markdown' has the branch that is shown."),
    ] = "jsonl"
    ids: Annotated[
        list[StrictStr] | None, Field(max_length=MAX_EXPORTED, description="Default: all conversations.")
    ] = None


class FolderRequest(RequestBody):
    """A new folder, or its new name."""

    name: Annotated[StrictStr, BeforeValidator(_one_line), Field(min_length=1, max_length=MAX_FOLDER_NAME_CHARS)]
