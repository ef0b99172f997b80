"""Settings of a conversation: how the page sends its requests. Declared once, for requests and imported files.

{"system": "Be brief.", "model": "assistant", "scenario": null, "parameters": {"temperature": 0.3, "top_k": 40}}
"""

import json
from typing import Annotated, Any

from pydantic import Field, StrictStr

from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.json_object import invalid_field, read_object
from turnwise.server.schema.request_body import validate
from turnwise.server.schema.request_field import Reader, RequestBody
from turnwise.server.schema.service_fields import MAX_NAME_CHARS

MAX_SYSTEM_CHARS = 100_000
MAX_PARAMETERS_CHARS = 100_000  # as JSON
# Fields of a request that belong to one request, or have a setting of their own.
_NOT_PARAMETERS = frozenset({
    "messages", "model", "scenario", "conversation_id", "continue_final_message", "echo", "stream", "stream_options",
    "background", "store", "metadata", "user", "safety_identifier", "prediction", "best_of",
    "answer_tokens", "beam_tree",
})  # fmt: skip
PARAMETER_NAMES = frozenset(ChatCompletionRequest.model_fields) - _NOT_PARAMETERS
_DUMMY_REQUEST = {"model": "latest", "messages": [{"role": "user", "content": "x"}]}


def read_parameters(value: Any) -> dict[str, Any] | None:
    """Return request fields by name, without nulls. Raises `InvalidParameter`, which names the field."""
    if value is None:
        return None
    path = "settings.parameters"
    fields = read_object(value, path, PARAMETER_NAMES)
    if len(json.dumps(fields)) > MAX_PARAMETERS_CHARS:
        raise invalid_field(path, f"may have at most {MAX_PARAMETERS_CHARS:,} characters as JSON")
    try:
        validate({**_DUMMY_REQUEST, **fields}, ChatCompletionRequest).to_chat_request()
    except InvalidParameter as error:
        raise InvalidParameter(f"{path}.{error.param}", f"In '{path}': {error}", code=error.code) from None
    return fields


class ConversationSettings(RequestBody):
    """Settings of a conversation. The server stores them; the client sends them with the requests."""

    system: Annotated[
        StrictStr | None, Field(max_length=MAX_SYSTEM_CHARS, description="System prompt of the requests.")
    ] = None
    model: Annotated[StrictStr | None, Field(min_length=1, max_length=200, description="Model of the requests.")] = None
    scenario: Annotated[
        StrictStr | None, Field(min_length=1, max_length=MAX_NAME_CHARS, description="Scenario of the requests.")
    ] = None
    parameters: Annotated[
        dict[str, Any] | None,
        Reader(
            read_parameters,
            {"type": "object", "description": "Fields of the requests by name, such as generation parameters."},
        ),
    ] = None

    def as_dict(self) -> dict[str, Any]:
        """The settings that are set."""
        return self.model_dump(exclude_none=True)


def check_settings(settings: Any) -> dict[str, Any]:
    """Return valid settings without nulls. Raises `InvalidParameter`."""
    return validate(settings, ConversationSettings).as_dict()
