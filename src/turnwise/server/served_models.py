"""The models of a server, by served name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from turnwise.core.chat_service import ChatService
from turnwise.core.errors import ModelNotFound, NotFound
from turnwise.core.stored_conversations import ConversationStore
from turnwise.server.error_responses import truncate

LATEST = "latest"
ALIASES = (LATEST, "stable")  # both are the default model, because a server has one version of each model
_MAX_LISTED_CHARS = 300


@dataclass(frozen=True, slots=True)
class ServedModels:
    """Chat services by served name.

    Attributes:
        services: read at every request, so the owner of the mapping can replace a service at any time.
        default: served name that the aliases stand for.
        instrument: wraps a service before it answers a request.
    """

    services: Mapping[str, ChatService]
    default: str
    instrument: Callable[[ChatService], ChatService] = lambda service: service

    def find(self, name: str) -> ChatService:
        """Return the instrumented service for a served name or alias. Raises `ModelNotFound`."""
        service = self.services.get(self.default if name in ALIASES else name)
        if service is None:
            names = truncate(", ".join((*sorted(self.services), *ALIASES)), _MAX_LISTED_CHARS)
            raise ModelNotFound(f"The model '{truncate(name)}' is not served here. Served models: {names}.")
        return self.instrument(service)

    @property
    def store(self) -> ConversationStore:
        """The conversation store. Raises `NotFound` if this server has none."""
        store = self.find(LATEST).store
        if store is None:
            raise NotFound("This server does not store conversations.")
        return store
