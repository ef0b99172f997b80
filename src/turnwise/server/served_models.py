"""The models of a server, by served name."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_service import ChatService
from turnwise.core.classification import ClassifierTask
from turnwise.core.classification_service import ClassificationService
from turnwise.core.embedding_service import EmbeddingService
from turnwise.core.errors import ModelNotFound, NotFound
from turnwise.core.feedback import AnswerOrigin
from turnwise.core.served_versions import LoadedVersion, VersionedService, VersionLease
from turnwise.core.stored_conversations import ConversationStore
from turnwise.server.chat_model_embeddings import ChatModelEmbeddings
from turnwise.server.consent_policy import ConsentPolicy
from turnwise.server.error_responses import truncate
from turnwise.server.request_context import RequestContext, current_request

LATEST, STABLE = "latest", "stable"
ALIASES = (LATEST, STABLE)  # of the default model; with versions, "stable" is its serving version, also beside a canary
_VERSION_NUMBER = re.compile("[1-9][0-9]{0,8}")
_MAX_LISTED_CHARS = 300
_PURPOSES: dict[ClassifierTask, str] = {
    "sequence_classification": "classifies texts only (POST /v1/classify)",
    "token_classification": "tags words only (POST /v1/tag)",
}
_NOUNS: dict[ClassifierTask, str] = {"sequence_classification": "classifier", "token_classification": "tagger"}


@dataclass(frozen=True, slots=True)
class ServedModels:
    """Chat services, embedding services and classifiers by served name.

    Attributes:
        services: read at every request, so the owner of the mapping can add or replace a service at any time, also in
            another thread.
        default: served name of the model that the aliases stand for.
        instrument: wraps a service before it answers a request.
        embedding_services: embedding models by served name; the aliases stand for the first one on `/v1/embeddings`.
        instrument_embeddings: wraps an embedding service before it answers a request.
        classifiers: classifiers and taggers by served name; the aliases stand for the first classifier on
            `/v1/classify`, and for the first tagger on `/v1/tag`.
        instrument_classifier: wraps a classifier before it answers a request.
        consent_policy: what may be collected of requests.
    """

    services: Mapping[str, ChatService]
    default: str
    instrument: Callable[[ChatService], ChatService] = lambda service: service
    embedding_services: Mapping[str, EmbeddingService] = field(default_factory=dict)
    instrument_embeddings: Callable[[EmbeddingService], EmbeddingService] = lambda service: service
    classifiers: Mapping[str, ClassificationService] = field(default_factory=dict)
    instrument_classifier: Callable[[ClassificationService], ClassificationService] = lambda service: service
    consent_policy: ConsentPolicy = field(default_factory=ConsentPolicy)

    def find(self, name: str) -> ChatService:
        """Return the instrumented service for a served name or alias. Raises `ModelNotFound`.

        Names are those of `select`.
        """
        return self.instrument(self._select(name))

    async def select(self, name: str, request: ChatRequest) -> ChatService:
        """Return the instrumented service that answers a request from start to end. Raises `ModelNotFound`.

        A model with versions answers with one of them, which stays loaded until the response has ended.

        Args:
            name: a served name, or an alias of the default model. With versions, "MODEL@3" is the version 3 of MODEL,
                and "stable" the serving version of the default model. "latest" is routed as its name is.
            request: the request, which decides on the version.
        """
        service = self._select(name)
        if not isinstance(service, VersionedService):
            return self.instrument(service)
        context = current_request()
        lease = await service.acquire(replace(request, principal=context.principal), user=context.user)
        context.leases.callback(_end_lease, context, lease)
        context.version = lease.version
        return self.instrument(lease.service)

    def _select(self, name: str) -> ChatService:
        service = self.services.get(self.default if name in ALIASES else name)
        if isinstance(service, VersionedService) and name == STABLE:
            return service.select("stable")
        if service is None:
            model, separator, number = name.rpartition("@")
            service = self.services.get(model)
            if separator and _VERSION_NUMBER.fullmatch(number) and isinstance(service, VersionedService):
                return service.select(int(number))
            raise self._purpose_error(name) or self._not_found(name, (*self.services, *ALIASES))
        return service

    def record_rating(self, answer: AnswerOrigin, value: int, previous: int | None) -> None:
        """Count the rating of an answer for the version that gave it.

        Args:
            answer: where the answer comes from.
            value: 1: good, -1: bad.
            previous: last rating of the same answer; None: it had none.
        """
        model = answer.version.rpartition("@")[0]
        if isinstance(service := self.services.get(model), VersionedService):
            service.record_rating(answer, value, previous)

    def versioned_services(self) -> dict[str, VersionedService]:
        """Services that have versions, by served name."""
        return {name: service for name, service in list(self.services.items()) if isinstance(service, VersionedService)}

    def find_embedding_service(self, name: str) -> EmbeddingService:
        """Return the instrumented embedding model for a served name or alias; or the embeddings of a chat model.

        Raises `ModelNotFound`.
        """
        if name in ALIASES and self.embedding_services:
            name = next(iter(self.embedding_services))
        if (embedding_service := self.embedding_services.get(name)) is not None:
            return self.instrument_embeddings(embedding_service)
        if name not in self.services and name not in ALIASES:
            names = (*self.services, *self.embedding_services, *ALIASES)
            raise self._purpose_error(name) or self._not_found(name, names)
        return ChatModelEmbeddings(self.find(name))

    def find_classifier(self, name: str, task: ClassifierTask) -> ClassificationService:
        """Return the instrumented classifier for a served name or alias.

        Raises `ModelNotFound`, also if the model does something else.
        """
        names = [served for served, classifier in self.classifiers.items() if classifier.task == task]
        served_name = names[0] if name in ALIASES and names else name
        if served_name in names:
            return self.instrument_classifier(self.classifiers[served_name])
        if (error := self._purpose_error(name)) is not None:
            raise error
        if names and name not in self.services:
            raise self._not_found(name, (*names, *ALIASES))
        noun, listed = _NOUNS[task], truncate(", ".join(names), _MAX_LISTED_CHARS)
        option = f"To serve a {noun}, start the server with --classifier FOLDER."
        remedy = f"Served here: {listed}." if names else option
        problem = f"'{name}' is a chat model, not a {noun}" if name in self.services else f"No {noun} is served here"
        raise ModelNotFound(f"{problem}. {remedy}")

    def loaded_versions(self) -> list[LoadedVersion]:
        """All versions that this server has loaded or failed to load."""
        return [loaded for service in self.versioned_services().values() for loaded in service.loaded_versions()]

    def _purpose_error(self, name: str) -> ModelNotFound | None:
        """The error for an embedding model or a classifier on a route that it is not for; None for other names."""
        if (classifier := self.classifiers.get(name)) is not None:
            return ModelNotFound(f"The model '{name}' {_PURPOSES[classifier.task]}.")
        if name in self.embedding_services:
            return ModelNotFound(f"The model '{name}' computes embeddings only (POST /v1/embeddings).")
        return None

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


def _end_lease(context: RequestContext, lease: VersionLease) -> None:
    if context.limit is not None and context.limit.expired():
        lease.record_timeout()
    lease.release()
