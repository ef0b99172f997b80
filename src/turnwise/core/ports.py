"""Ports: interfaces between packages. `app/services.py` connects them with implementations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.stored_completions import CompletionStore
from turnwise.core.stored_responses import ResponseStore

if TYPE_CHECKING:  # the command line imports this file and wants an answer at once
    from numpy import bool_
    from numpy.typing import NDArray

FinishReason = Literal["stop", "length", "tool_calls", "cancelled", "error"]
HEAD = ""  # instead of a message id: the last message of the current branch
Quantization = Literal["int8", "int4"]  # what weights may be rounded to


class ConstraintState(Protocol):
    """A constraint at work for one answer. Shapes: V vocabulary."""

    def token_mask(self) -> "NDArray[bool_] | None":
        """Which tokens may come next, `(V,)`; None where all may. May raise `UserError` when it got too hard."""

    def accept(self, token: int) -> None:
        """Learn which token was chosen."""

    def fork(self) -> "ConstraintState":
        """The same state for a second answer, which goes its own way from here."""

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole and nothing may follow."""


class Constraint(Protocol):
    """What an answer may say: a grammar, say, or words that must not occur."""

    def start(self) -> ConstraintState:
        """The state at the beginning of an answer."""


PromptOutput = Literal["nothing", "logprobs", "embedding"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Ids in: what the engine needs to produce one answer.

    Attributes:
        prompt_ids: what the answer goes on from.
        params: how it is decoded.
        max_tokens: most tokens of the answer, already bounded by the context; 0 only reads the prompt.
        stop_ids: tokens that end it.
        constraints: what it may say.
        reading: what to report of the prompt itself, once it is read.
        told_from: the first token of the prompt whose log-probability is reported; what comes before may be shared.
        answers: how many answers one search is to give, the best first; only a search over beams gives several.
        scope: whose prompts may share what was read of them; answers come sooner for what somebody in it has asked.
        tenant: whose request it is; those who wait take turns by it.
        priority: among the tenant's requests, the lower, the sooner.
        prediction: what the answer will perhaps say, as token ids; saves time where it does.
        source: what the encoder reads, for a model that has one; `prompt_ids` are then what its decoder begins with.
        adapter: the name of what changes the engine's model for it; the empty one is none.
    """

    prompt_ids: tuple[int, ...]
    params: GenerationParams
    max_tokens: int
    stop_ids: frozenset[int]
    constraints: tuple[Constraint, ...] = ()
    prompt_output: PromptOutput = "nothing"
    prompt_logprobs_start: int = 0
    num_return_sequences: int = 1
    scope: str = ""
    tenant: str = ""
    priority: int = 0
    prediction: tuple[int, ...] = ()
    encoder_ids: tuple[int, ...] = ()
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The log-probability of the token that was chosen, and the likeliest tokens with theirs, likeliest first."""

    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class RequestStats:
    """What a request has cost so far.

    Attributes:
        cached: tokens of the prompt that did not have to be read, because an earlier request had read them.
        accepted: tokens of the request's prediction that were tried and turned out to be the answer's.
        rejected: those that were tried and did not.
    """

    cached_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """What the engine reports of a request: what it read, a token, the end, or several of these.

    Attributes:
        id: the next token; None when the request ends without one (a stop id is not reported as a token).
        finish: how it ended.
        error: why it failed.
        logprobs: of the token, or of the stop id where it ended with one.
        users: the error is the request's own fault.
        prompt_logprobs: of every prompt token but the first, which follows nothing; or of those from `told_from` on.
        embedding: the last hidden state of the prompt's last token, scaled to length 1.
        index: which of the request's answers it belongs to.
        work: what the request has cost so far.
        stop_id: the stop id that ended it, where the engine tells.
    """

    token_id: int | None
    finish_reason: FinishReason | None = None
    error: str | None = None
    logprobs: TokenLogprobs | None = None
    is_client_error: bool = False
    prompt_logprobs: tuple[TokenLogprobs, ...] = ()
    embedding: tuple[float, ...] | None = None
    index: int = 0
    stats: RequestStats = RequestStats()
    stop_id: int | None = None


class RequestHandle(Protocol):
    """A submitted request."""

    def cancel(self) -> None:
        """Stop it; its slot is free within one step. Safe to call twice, from any thread, and after the end."""


class InferenceEngine(Protocol):
    """Turns requests into tokens, many at once."""

    is_encoder_decoder: bool  # whether an encoder reads the prompt, so that an answer does not go on from it

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together; of the prompt alone, where an encoder reads it."""

    def max_new_tokens(self, prompt: int) -> int:
        """Most tokens of an answer to a prompt of so many; negative where that is too long itself."""

    @property
    def is_healthy(self) -> bool:
        """False once it has stopped after an error; it then refuses all requests."""

    def submit(self, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> RequestHandle:
        """Queue a request. `on_event` is called from the generator's thread and must not block."""

    def close(self) -> None:
        """Stop all work; requests under way end as cancelled."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A stored message.

    Attributes:
        id: id, unique over all conversations.
        created: Unix time of storage, in seconds.
        message: the message.
        meta: plain JSON. Response: its `model` and `finish` reason ("in_progress" during generation and after a
            crash). Request that failed: its `error`.
        parent_id: id of the previous message; None for a first message.
        sibling_ids: ids of all messages with the same parent, including this one, oldest first. Set by
            `ConversationStore.get`.
    """

    id: str
    created: float
    message: Message
    meta: Mapping[str, Any]
    parent_id: str | None = None
    sibling_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A stored conversation: a tree of messages. `ConversationStore.list` leaves `head`, `messages` and `tree` empty.

    Attributes:
        id: id.
        title: title.
        model: model of the first request.
        created: Unix time of creation, in seconds.
        updated: Unix time of the last added message.
        head: id of the last message of the current branch; None if there are no messages.
        messages: current branch, from the first message to the head.
        tree: messages of all branches, oldest first.
    """

    id: str
    title: str
    model: str
    created: float
    updated: float
    head: str | None = None
    messages: tuple[StoredMessage, ...] = ()
    tree: tuple[StoredMessage, ...] = ()


class ConversationStore(Protocol):
    """Stores conversations as trees of messages. Messages are deleted only together with their conversation.

    A method that writes returns after the change is synced to disk. Every method raises `Unavailable` if another
    process holds the store for too long, and `SaveFailed` if a write fails.
    """

    @property
    def completions(self) -> CompletionStore:
        """Stored completions, in the same database."""

    @property
    def responses(self) -> ResponseStore:
        """Stored responses (`/v1/responses`), in the same database."""

    def create(self, *, title: str, model: str) -> StoredConversation:
        """Create a conversation."""

    def ensure_branch(self, conversation_id: str, messages: Sequence[Message], *, title: str = "") -> tuple[str, ...]:
        """Ensure that `messages` is a branch of the tree and return the message ids.

        The longest prefix that a branch already has is reused. The other messages are added below it in one
        transaction, and the last one becomes the head. If nothing is added, the head stays and the `error` in the
        `meta` of the last message is removed, because the request is repeated. A conversation without a title gets
        `title`. Raises `NotFound`.
        """

    def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        meta: Mapping[str, Any] | None = None,
        *,
        parent_id: str | None = HEAD,
    ) -> tuple[str, ...]:
        """Add messages, each below the previous one, in one transaction. Make the last one the head. Return the ids.

        Args:
            conversation_id: id of the conversation. Raises `NotFound`.
            messages: messages to add.
            meta: stored with each message.
            parent_id: parent of the first message; None: the first message starts a branch of its own.
        """

    def update_message(self, message_id: str, *, content: Message | None = None, meta: Mapping[str, Any]) -> None:
        """Update a message or its metadata. Raises `NotFound`.

        Args:
            message_id: id of the message.
            content: new message; None: unchanged.
            meta: keys to set; a key with value None is removed, other keys stay.
        """

    def get(self, conversation_id: str) -> StoredConversation:
        """A conversation with its messages. Raises `NotFound`."""

    def list(self, *, limit: int = 100, after: str | None = None, query: str = "") -> list[StoredConversation]:
        """Conversations without messages, most recently updated first.

        Args:
            limit: maximum number of conversations.
            after: id of the last conversation of the previous page. Raises `NotFound`.
            query: return only conversations whose title or messages contain this text, ignoring case.
        """

    def select_branch(self, conversation_id: str, message_id: str) -> None:
        """Switch branches: the newest message below `message_id` becomes the head. Raises `NotFound`."""

    def rename(self, conversation_id: str, title: str) -> None:
        """Set the title. Raises `NotFound`."""

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation with its messages. Raises `NotFound`."""

    def close(self) -> None:
        """Close the database."""
