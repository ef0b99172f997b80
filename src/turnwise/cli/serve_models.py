"""The chat models of `turnwise serve`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnwise.cli.console_output import warn_missing_chat_template

if TYPE_CHECKING:
    from turnwise.app.version_serving.model_opener import OpenChatModel
    from turnwise.chat.service import EngineChatService
    from turnwise.cli.serve_options import ConversationOptions, EngineOptions
    from turnwise.core.reply_scoring import BestOfRanking
    from turnwise.core.served_versions import AnsweringVersion
    from turnwise.core.stored_conversations import ConversationStore


def chat_model_opener(
    engine: "EngineOptions",
    conversation: "ConversationOptions",
    *,
    system_prompt: str | None,
    store: "ConversationStore | None",
    sampling: Mapping[str, Any],
    best_of: "BestOfRanking" = "likelihood",
) -> "OpenChatModel":
    """The function that opens a chat model or a version. Adapters of one base model share its engine.

    Args:
        engine: how models are loaded.
        conversation: how conversations are put into the context.
        system_prompt: for conversations without a system message; None: none.
        store: stores conversations; None: nothing is stored.
        sampling: defaults of the generation parameters.
        best_of: what ranks the choices of `best_of`.
    """
    from turnwise.app.chat_services import open_chat_service
    from turnwise.app.shared_base_engines import SharedBaseEngines

    base_engines = SharedBaseEngines()

    @contextmanager
    def open_model(folder: Path, name: str, version: "AnsweringVersion | None") -> "Iterator[EngineChatService]":
        with open_chat_service(
            str(folder),
            dtype=engine.dtype,
            device=engine.device,
            quantize=engine.quantize,
            kv_cache_memory_bytes=None if engine.kv_cache_gb is None else int(engine.kv_cache_gb * 1e9),
            max_num_seqs=engine.max_num_seqs,
            threads=engine.threads,
            store=store,
            defaults=sampling,
            name=name,
            format=conversation.interaction_format,
            system_prompt=system_prompt,
            context_policy=conversation.context_policy,
            base_engines=base_engines,
            prepare=True,
            version=version,
            best_of=best_of,
        ) as service:
            warn_missing_chat_template(service)
            yield service

    return open_model
