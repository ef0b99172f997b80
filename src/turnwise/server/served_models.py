"""The models that a server answers with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from turnwise.chat.service import ChatService
from turnwise.core.errors import ModelNotFound, NotFound
from turnwise.core.ports import ConversationStore
from turnwise.server.error_responses import truncate

LATEST = "latest"
ALIASES = (LATEST, "stable")  # one model until several versions are kept: the served default


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The served models by name, and the one that the aliases mean.

    The mapping is read at every request, so whoever owns it may put another service behind a name at any time.
    """

    services: Mapping[str, ChatService]
    default: str
    watch: Callable[[ChatService], ChatService] = lambda service: service

    def find(self, name: str) -> ChatService:
        """The service behind a name or alias, watched. Raises `ModelNotFound`, listing what is served."""
        service = self.services.get(self.default if name in ALIASES else name)
        if service is None:
            served_models = truncate(", ".join((*sorted(self.services), *ALIASES)), 300)
            raise ModelNotFound(f"The model '{truncate(name)}' is not served here. Served: {served_models}.")
        return self.watch(service)

    @property
    def store(self) -> ConversationStore:
        """Where conversations are kept. Raises `NotFound` when this server keeps none."""
        store = self.find(LATEST).store
        if store is None:
            raise NotFound("This server keeps no conversations.")
        return store
