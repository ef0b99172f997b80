"""Entries of `GET /v1/models`."""

from typing import Any, Literal

from pydantic import BaseModel

from turnwise.core.chat_service import ChatService
from turnwise.core.classification_service import ClassificationService
from turnwise.core.embedding_service import EmbeddingService
from turnwise.core.sampling_presets import apply_sampling_preset


class ModelBody(BaseModel):
    """A served model. The last five fields are extensions.

    `max_model_len` is the context length in tokens; of an embedding model or a classifier the maximum length of an
    input. `defaults` are the model's generation parameters, `chat_defaults` the same with `"sampling_preset": "chat"`;
    only chat models have them. `task` is what the model does: "sequence_classification" on `/v1/classify`,
    "token_classification" on `/v1/tag`. `version_of` is the served name of which the entry is a version, such as "shop"
    for "shop@3"; null for other entries.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "turnwise"
    max_model_len: int
    defaults: dict[str, Any]
    chat_defaults: dict[str, Any]
    task: Literal["chat", "embeddings", "sequence_classification", "token_classification"] = "chat"
    version_of: str | None = None

    @classmethod
    def of(cls, name: str, service: ChatService, *, version_of: str | None = None) -> "ModelBody":
        """Describe a chat service under its served name, or under the name of a version of the model `version_of`."""
        return cls(
            id=name,
            created=service.created,
            max_model_len=service.context_length,
            defaults=dict(service.defaults),
            chat_defaults=apply_sampling_preset("chat", service.defaults),
            version_of=version_of,
        )

    @classmethod
    def of_embedding_service(cls, service: EmbeddingService) -> "ModelBody":
        """Describe an embedding model."""
        return cls(
            id=service.name,
            created=service.created,
            max_model_len=service.max_input_tokens,
            defaults={},
            chat_defaults={},
            task="embeddings",
        )

    @classmethod
    def of_classifier(cls, service: ClassificationService) -> "ModelBody":
        """Describe a classifier or a tagger."""
        return cls(
            id=service.name,
            created=service.created,
            max_model_len=service.max_input_tokens,
            defaults={},
            chat_defaults={},
            task=service.task,
        )
