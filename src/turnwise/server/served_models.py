"""The models of a server, by served name."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from turnwise.core.chat_service import ChatService
from turnwise.core.embedding_service import EmbeddingService
from turnwise.core.errors import ModelNotFound, NotFound
from turnwise.core.stored_conversations import ConversationStore
from turnwise.server.chat_model_embeddings import ChatModelEmbeddings
from turnwise.server.error_responses import truncate

LATEST = "latest"
ALIASES = (LATEST, "stable")  # both are the default model, because a server has one version of each model
_MAX_LISTED_CHARS = 300


@dataclass(frozen=True, slots=True)
class ServedModels:
    """Chat services and embedding services by served name.

    Attributes:
        services: read at every request, so the owner of the mapping can replace a service at any time.
        default: served name that the aliases stand for.
        instrument: wraps a service before it answers a request.
        embedding_services: embedding models by served name; the aliases stand for the first one on `/v1/embeddings`.
        instrument_embeddings: wraps an embedding service before it answers a request.
    """

    services: Mapping[str, ChatService]
    default: str
    instrument: Callable[[ChatService], ChatService] = lambda service: service
    embedding_services: Mapping[str, EmbeddingService] = field(default_factory=dict)
    instrument_embeddings: Callable[[EmbeddingService], EmbeddingService] = lambda service: service

    def find(self, name: str) -> ChatService:
        """Return the instrumented service for a served name or alias. Raises `ModelNotFound`."""
        service = self.services.get(self.default if name in ALIASES else name)
        if service is None and name in self.embedding_services:
            raise ModelNotFound(f"The model '{name}' computes embeddings only (POST /v1/embeddings).")
        if service is None:
            raise self._not_found(name, (*self.services, *ALIASES))
        return self.instrument(service)

    def find_embedding_service(self, name: str) -> EmbeddingService:
        """Return the instrumented embedding model for a served name or alias; or the embeddings of a chat model.

        Raises `ModelNotFound`.
        """
        if name in ALIASES and self.embedding_services:
            name = next(iter(self.embedding_services))
        if (embedding_service := self.embedding_services.get(name)) is not None:
            return self.instrument_embeddings(embedding_service)
        if name not in self.services and name not in ALIASES:
            raise self._not_found(name, (*self.services, *self.embedding_services, *ALIASES))
        return ChatModelEmbeddings(self.find(name))

    def _not_found(self, name: str, names: Collection[str]) -> ModelNotFound:
        listed = truncate(", ".join(names), _MAX_LISTED_CHARS)
        return ModelNotFound(f"The model '{truncate(name)}' is not served here. Served models: {listed}.")

    @property
    def store(self) -> ConversationStore:
        """The conversation store. Raises `NotFound` if this server has none."""
        store = self.find(LATEST).store
        if store is None:
            raise NotFound("This server does not store conversations.")
        return store
