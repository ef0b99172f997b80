"""The chat service port: what the server, the command line and other callers need of a chat model."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from turnwise.core.attention import AttentionQuery, AttentionWeights
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta, ChatResponse, DecodedToken, Usage
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import ConversationStore


class TokenInspector(Protocol):
    """Encodes and decodes the tokens of one model."""

    def encode_text(self, text: str, limit: int | None = None) -> list[int]:
        """Token ids of a text. A spelled special token stays text.

        Raises `ContextLengthExceeded` if there are more than `limit`.
        """

    def encode_messages(
        self, messages: Sequence[Message], add_generation_prompt: bool, limit: int | None = None
    ) -> list[int]:
        """Token ids of a conversation as a prompt. Raises `ContextLengthExceeded` if there are more than `limit`."""

    def encode_answer(self, messages: Sequence[Message], text: str, limit: int | None = None) -> list[int]:
        """Token ids of an answer to messages. Raises `ContextLengthExceeded` if there are more than `limit`."""

    def answer_text(self, ids: Sequence[int]) -> str:
        """Text of the start of an answer, without a character that is not complete.

        Raises `InvalidParameter` for ids that no text of an answer has.
        """

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""

    def decode_token(self, id: int, logprob: float = 0.0) -> DecodedToken:
        """A token as text and bytes, for log-probabilities."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the tokens, including special tokens. Raises `InvalidParameter` for unknown ids."""


@dataclass(frozen=True, slots=True)
class ScenarioInfo:
    """A scenario that requests can name.

    Attributes:
        name: its name.
        titles, descriptions: texts by language.
        languages: languages that it answers in.
        error: why the present files are invalid, if they are; an earlier version may still answer.
    """

    name: str
    titles: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    error: str | None = None


class ChatService(Protocol):
    """A chat model that answers requests.

    `chat.service.EngineChatService` generates with an inference engine, `testing.ScriptedChatService` streams a script.
    """

    @property
    def name(self) -> str:
        """Served model name."""

    @property
    def created(self) -> int:
        """Unix time of the weights, in seconds."""

    @property
    def fingerprint(self) -> str:
        """Changes with the weights and the decoding settings."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Generation parameters of the model."""

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and response together."""

    @property
    def context_policy(self) -> str:
        """Name of the default policy for conversations longer than the context."""

    @property
    def store(self) -> ConversationStore | None:
        """Conversation store; None: nothing is stored."""

    @property
    def scenarios(self) -> Sequence[ScenarioInfo]:
        """Scenarios that requests can name; empty if there are none. May read files."""

    @property
    def is_healthy(self) -> bool:
        """False after a fatal error. All requests are then rejected."""

    @property
    def tokens(self) -> TokenInspector:
        """Tokenization and detokenization for clients."""

    def prompt_ids(self, request: ChatRequest) -> tuple[int, ...]:
        """Token ids of the prompt, without a context policy. Raises `UserError` as `stream` does."""

    async def count_input_tokens(self, request: ChatRequest) -> int:
        """Number of prompt tokens, after the context policy. Raises `UserError` as `stream` does."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Generate the response as a stream of deltas. With the same seed they concatenate to the result of `reply`.

        Closing the stream cancels generation.

        Raises:
            UserError: the request is invalid; before the first delta. The messages are stored nevertheless.
            NotFound: there is no conversation `conversation_id`.
            Unavailable: the store is busy. Before the first delta: nothing was stored or generated.
            TurnwiseError: the engine failed.
        """

    async def reply(self, request: ChatRequest) -> ChatResponse:
        """Generate the complete response; the best choices if `best_of` is set. Raises as `stream` does."""

    async def attention(self, request: ChatRequest, query: AttentionQuery) -> AttentionWeights:
        """What the last token of the prompt attends to; with `answer_ids`, the last of them.

        Raises:
            UserError: as `stream` does, or the model has no attention that can be shown, or not this layer or head.
            Unavailable: the files of the model have changed.
        """

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """Embedding of a text or of token ids, and the usage. Raises as `stream` does."""
