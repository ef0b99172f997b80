"""Embeddings of a chat model: the last hidden state of the last token."""

from turnwise.core.chat_service import ChatService
from turnwise.core.embedding_service import EmbeddingRequest, EmbeddingResult
from turnwise.core.errors import InvalidParameter
from turnwise.server.merge_streams import gather_bounded


class ChatModelEmbeddings:
    """A chat model as an embedding service (implements `core.embedding_service.EmbeddingService`)."""

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self.name, self.created, self.max_input_tokens = service.name, service.created, service.context_length
        self.dimension = None  # a chat service does not state its hidden size

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """Embed texts. There are no prefixes, so `input_type` changes nothing. Raises as `ChatService.embed` does.

        Raises:
            InvalidParameter: `truncate_prompt_tokens` is set; prompts of a chat model are not shortened.
        """
        if request.truncate_prompt_tokens is not None:
            raise InvalidParameter(
                "truncate_prompt_tokens",
                f"'truncate_prompt_tokens' works with embedding models only; '{self.name}' is a chat model.",
                code="unsupported_value",
            )
        results = await gather_bounded([self._service.embed(prompt) for prompt in request.inputs])
        return EmbeddingResult([vector for vector, _ in results], sum(usage.prompt_tokens for _, usage in results))
