"""Bodies of `POST /v1/embeddings`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from turnwise.core.embedding_service import InputType
from turnwise.server.schema.common_fields import LoggedUser, ServedModelName
from turnwise.server.schema.completion_request import MAX_PROMPTS, Prompt, prompt_list_schema, read_prompt_list
from turnwise.server.schema.request_field import EXTENSION, Reader, RequestBody

_INPUT_SCHEMA = prompt_list_schema(
    f"A text or its token ids, or a list of up to {MAX_PROMPTS} of either.", {"type": "string", "minLength": 1}
)


def _read_input(value: Any) -> tuple[Prompt, ...]:
    return read_prompt_list(value, "input")


class EmbeddingRequest(RequestBody):
    """Texts, or their token ids, to embed."""

    input: Annotated[tuple[Prompt, ...], Reader(_read_input, _INPUT_SCHEMA)]
    model: ServedModelName
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Field(description="Numbers, or little-endian float32 values as base64.")
    ] = None
    dimensions: Annotated[
        int | None,
        Field(strict=True, ge=1, description="Only the dimension of the model's embeddings: they cannot be truncated."),
    ] = None
    user: LoggedUser = None
    input_type: Annotated[
        InputType | None,
        Field(
            description="What the texts are used as; selects the model's prefix ('document' is another word for "
            "'passage'). Models without prefixes embed all types alike."
        ),
        EXTENSION,
    ] = None
    truncate_prompt_tokens: Annotated[
        int | None,
        Field(
            strict=True,
            ge=-1,
            description="Shorten longer inputs to this number of tokens, -1 to the maximum of the model; "
            "`usage.truncated_inputs` lists them. Default: longer inputs are errors. Embedding models only.",
        ),
        EXTENSION,
    ] = None


class EmbeddingBody(BaseModel):
    """The embedding of one input, of Euclidean length 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Token counts. The extension `truncated_inputs` has the indices of the inputs that were shortened, if any."""

    prompt_tokens: int
    total_tokens: int
    truncated_inputs: list[int] | None = None


class EmbeddingResponse(BaseModel):
    """The embeddings of all inputs, in their order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingBody]
    model: str
    usage: EmbeddingUsage
