"""Opens one version of a model, and checks it before it answers anybody."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.chat_request import ChatRequest, OutputOptions
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import InvalidData, TurnwiseError
from turnwise.core.messages import Message
from turnwise.core.model_versions import ModelVersion
from turnwise.core.settings import Settings
from turnwise.models.model_folders import weights_digest

CHECK_KEY = "check"  # in the scorecard: {"prompt": "…", "answer": "…"}, the greedy answer that its training recorded
CHECK_TOKENS = 32
WARM_UP_PROMPT = "Hello"


def version_folder(version: ModelVersion) -> Path:
    """The folder of the weights of a version.

    Raises:
        InvalidData: the weights are not those of the record, or were deleted.
        UserError: there is no such model.
    """
    if version.is_erased:
        raise InvalidData(f"The weights of {version.reference} were deleted.")
    source = version.content.source
    stored = Settings.from_environment().versions / source
    folder = stored if stored.is_dir() else resolve_model_folder(source)
    if weights_digest(folder) != version.content.weights_sha256:
        raise InvalidData(
            f"The weights in {folder} are not those of {version.reference}: they were changed or damaged. "
            "The version is not served."
        )
    return folder


def check_answers(service: ChatService, version: ModelVersion) -> None:
    """Let a version answer once, before requests reach it. Blocks; not for the event loop.

    If the scorecard of the version has a "check", the greedy answer to its prompt has to be the recorded one.

    Raises:
        InvalidData: it answers something else.
        TurnwiseError: it cannot answer.
    """
    check = version.content.scorecard.get(CHECK_KEY)
    prompt, answer = (WARM_UP_PROMPT, None) if check is None else _read_check(check, version)
    request = ChatRequest(
        messages=(Message("user", prompt),),
        sampling={"temperature": 0, "max_tokens": CHECK_TOKENS},
        output=OutputOptions(),
    )
    response = asyncio.run(service.reply(request))
    if response.finish_reason in ("error", "cancelled"):
        raise TurnwiseError(f"{version.reference} cannot answer.")
    if answer is not None and response.text != answer:
        raise InvalidData(
            f"{version.reference} does not give the recorded answer to its check, so it is not the model that was "
            "evaluated. The version is not served."
        )


def greedy_check(service: ChatService, prompt: str) -> Mapping[str, Any]:
    """The "check" of a scorecard for a model: a prompt and its greedy answer. Blocks."""
    request = ChatRequest(messages=(Message("user", prompt),), sampling={"temperature": 0, "max_tokens": CHECK_TOKENS})
    return {"prompt": prompt, "answer": asyncio.run(service.reply(request)).text}


def _read_check(check: Any, version: ModelVersion) -> tuple[str, str]:
    if isinstance(check, Mapping):
        prompt, answer = check.get("prompt"), check.get("answer")
        if isinstance(prompt, str) and isinstance(answer, str):
            return prompt, answer
    raise InvalidData(f"The check in the scorecard of {version.reference} needs a 'prompt' and an 'answer'.")
