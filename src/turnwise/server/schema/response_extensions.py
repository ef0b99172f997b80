"""Response fields that no published API has. A field without a value is absent."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from turnwise.core.chat_response import ChatDelta, ChatResponse
from turnwise.server.schema.beam_fields import BeamsBody
from turnwise.server.schema.context_fields import ContextBody
from turnwise.server.schema.service_fields import ServiceBody


class ResponseExtensions(BaseModel):
    """Extensions of completions, of the last chunk of a stream, and of responses."""

    context: Annotated[
        ContextBody | None, Field(description="An extension; present only if a context policy dropped something.")
    ] = None

    service: Annotated[
        ServiceBody | None, Field(description="An extension; present only if a scenario or documents answered.")
    ] = None

    beams: Annotated[
        BeamsBody | None, Field(description="An extension; present only if the request has 'beam_tree'.")
    ] = None

    def with_extensions(self, extensions: "ResponseExtensions") -> Self:
        """Return a copy with other extensions."""
        return self.model_copy(update=dict(extensions))

    def dump(self) -> dict[str, Any]:
        """Return JSON; the extensions are at the end, without nulls."""
        content = self.model_dump(exclude=set(ResponseExtensions.model_fields))
        for name in ResponseExtensions.model_fields:
            if (extension := getattr(self, name)) is not None:
                content[name] = extension.model_dump(exclude_none=True)
        return content


def collect_extensions(response: ChatDelta | ChatResponse) -> ResponseExtensions:
    """Convert the reports of the chat service."""
    return ResponseExtensions(
        context=ContextBody.of(response.context),
        service=ServiceBody.of(response.service),
        beams=BeamsBody.of(response.beams),
    )
