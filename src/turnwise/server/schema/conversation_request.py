"""Bodies of `POST /v1/conversations` and `PATCH /v1/conversations/{id}`."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictStr, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.request_field import RequestBody


def _one_line(value: Any) -> Any:
    """Replace white space by single spaces."""
    return " ".join(value.split()) if isinstance(value, str) else value


Title = Annotated[StrictStr, BeforeValidator(_one_line), Field(max_length=200)]


class ConversationCreate(RequestBody):
    """A new conversation."""

    title: Annotated[Title, Field(description="If empty, it is taken from the first message.")] = ""
    model: Annotated[StrictStr, Field(max_length=200)] = "latest"


class ConversationUpdate(RequestBody):
    """Changes of a conversation: title, head, or both."""

    title: Annotated[Title | None, Field(min_length=1)] = None
    head: Annotated[
        StrictStr | None,
        Field(max_length=100, description="Show the branch of this message; the head becomes its latest descendant."),
    ] = None

    @model_validator(mode="after")
    def _check_not_empty(self) -> "ConversationUpdate":
        if self.title is None and self.head is None:
            raise InvalidParameter("title", "Send a 'title' or a 'head'; nothing else can be changed.")
        return self
