"""Versions of a model that a server has loaded: what answers, and the port of a chat service that routes to them."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_service import ChatService
from turnwise.core.feedback import AnswerOrigin
from turnwise.core.model_versions import ModelRegistry, ModelVersion, VersionState

# Which version answers: the one that the conversation is routed to, the serving one, or that with a number.
VersionSelector = Literal["routed", "stable"] | int
VERSION_KEY, WEIGHTS_KEY = "version", "weights"  # in the metadata of stored messages and in stored completions
ROUTED_KEY = "routed"  # in the metadata of stored messages, false if the request named the version


@dataclass(frozen=True, slots=True)
class AnsweringVersion:
    """The version that answers a request.

    Attributes:
        reference: such as "turnwise-assistant@3".
        weights_sha256: digest of its weights.
        is_routed: False if the request names it.
    """

    reference: str
    weights_sha256: str
    is_routed: bool = True

    @classmethod
    def of(cls, version: ModelVersion) -> "AnsweringVersion":
        """The version of a record."""
        return cls(version.reference, version.content.weights_sha256)

    @property
    def meta(self) -> Mapping[str, Any]:
        """What is stored with an answer: `{"version": "MODEL@3", "weights": DIGEST}`."""
        return {VERSION_KEY: self.reference, WEIGHTS_KEY: self.weights_sha256}


@dataclass(frozen=True, slots=True)
class VersionLease:
    """One version, which stays loaded until the lease is released.

    Attributes:
        service: answers with this version only.
        version: the version.
        release: ends the lease; idempotent.
        record_timeout: counts the answer as failed, because it reached the time limit of the server. Call it before
            `release`.
    """

    service: ChatService
    version: AnsweringVersion
    release: Callable[[], None]
    record_timeout: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that a server has loaded, or tried to load.

    Attributes:
        version: the record of the registry.
        num_requests: requests that it answers now.
        error: why it could not be loaded; empty if it is loaded.
    """

    version: ModelVersion
    num_requests: int = 0
    error: str = ""


class VersionedService(ChatService):
    """A chat service that answers with one of several versions."""

    @abstractmethod
    def select(self, selector: VersionSelector) -> "VersionedService":
        """The same service, restricted to a version. Raises `ModelNotFound` if it is not live."""

    @abstractmethod
    async def acquire(self, request: ChatRequest, *, user: str | None = None) -> VersionLease:
        """The version that answers a request from start to end.

        Args:
            request: the request with its principal.
            user: end user, as named by the client.
        """

    @abstractmethod
    def live_versions(self) -> Sequence[ModelVersion]:
        """The versions that requests can name: the serving one, and the canary."""

    @abstractmethod
    def loaded_versions(self) -> Sequence[LoadedVersion]:
        """All versions that this server has loaded or failed to load."""

    @abstractmethod
    def record_rating(self, answer: AnswerOrigin, value: int, previous: int | None) -> None:
        """Count the rating of an answer, unless the request named the version or it is not live.

        Args:
            answer: where the answer comes from.
            value: 1: good, -1: bad.
            previous: last rating of the same answer; None: it had none.
        """


class VersionControl(Protocol):
    """Changes the states of versions for a person. Methods raise as those of `ModelRegistry` do."""

    @property
    def registry(self) -> ModelRegistry:
        """The records of the versions."""

    def change_state(
        self, model: str, number: int, state: VersionState, *, reason: str, share: float = 0.0
    ) -> ModelVersion:
        """Change the state of a version. Raises `UserError` if its weights are not those of the record."""

    def roll_back(self, model: str, *, reason: str) -> ModelVersion:
        """Let the version serve again that served before the present one."""
