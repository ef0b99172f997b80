"""A chat service that passes everything on to another one."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from turnwise.chat.delta_accumulator import collect_embedding, collect_response
from turnwise.core.attention import AttentionQuery, AttentionWeights
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta, ChatResponse, Usage
from turnwise.core.chat_service import ChatService, ScenarioInfo, TokenInspector
from turnwise.core.stored_conversations import ConversationStore


class DelegatingChatService(ABC):
    """Passes on to `target` (implements `core.chat_service.ChatService`). Subclasses define `target` and `stream`."""

    @property
    @abstractmethod
    def target(self) -> ChatService:
        """The service that answers now."""

    @abstractmethod
    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Generate the response as a stream of deltas. Raises as `ChatService.stream` does."""

    @property
    def name(self) -> str:
        """Served model name."""
        return self.target.name

    @property
    def created(self) -> int:
        """Unix time of the weights, in seconds."""
        return self.target.created

    @property
    def fingerprint(self) -> str:
        """Changes with the weights and the decoding settings."""
        return self.target.fingerprint

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Generation parameters of the model."""
        return self.target.defaults

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and response together."""
        return self.target.context_length

    @property
    def context_policy(self) -> str:
        """Name of the default policy for conversations longer than the context."""
        return self.target.context_policy

    @property
    def store(self) -> ConversationStore | None:
        """Conversation store; None: nothing is stored."""
        return self.target.store

    @property
    def scenarios(self) -> Sequence[ScenarioInfo]:
        """Scenarios that requests can name."""
        return self.target.scenarios

    @property
    def is_healthy(self) -> bool:
        """False after a fatal error."""
        return self.target.is_healthy

    @property
    def tokens(self) -> TokenInspector:
        """Tokenization and detokenization for clients."""
        return self.target.tokens

    def prompt_ids(self, request: ChatRequest) -> tuple[int, ...]:
        """Token ids of the prompt, without a context policy."""
        return self.target.prompt_ids(request)

    async def count_input_tokens(self, request: ChatRequest) -> int:
        """Number of prompt tokens, after the context policy."""
        return await self.target.count_input_tokens(request)

    async def attention(self, request: ChatRequest, query: AttentionQuery) -> AttentionWeights:
        """What the last token of the prompt attends to."""
        return await self.target.attention(request, query)

    async def reply(self, request: ChatRequest) -> ChatResponse:
        """Generate the complete response. Raises as `stream` does."""
        return await collect_response(self.stream, request)

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """Embedding of a text or of token ids, and the usage. Raises as `stream` does."""
        return await collect_embedding(self.stream, prompt)
