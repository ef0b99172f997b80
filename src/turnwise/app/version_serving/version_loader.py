"""Opens one version of a model, and checks it before it answers anybody."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import InvalidData, TurnwiseError
from turnwise.core.messages import Message
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import AnsweringVersion

CHECK_KEY = "check"  # in the scorecard: {"prompt": "…", "answer": "…"}, the greedy answer that its training recorded
CHECK_TOKENS = 32
WARM_UP_PROMPT = "Hello"

# (folder of the weights, served model name, version) → the chat service, open until the block ends
OpenModel = Callable[[Path, str, AnsweringVersion], AbstractContextManager[ChatService]]


@contextmanager
def open_version(library: VersionLibrary, open_model: OpenModel, version: ModelVersion) -> Iterator[ChatService]:
    """Open a version whose weights are those of its record, and let it answer once.

    Raises:
        UserError: the weights were changed, damaged or deleted, or the version fails its check.
    """
    folder = library.verified_folder(version)
    with open_model(folder, version.content.model, AnsweringVersion.of(version)) as service:
        check_answers(service, version)
        yield service


def check_answers(service: ChatService, version: ModelVersion) -> None:
    """Let a version answer before requests reach it. Blocks; not for the event loop.

    If the scorecard of the version has a "check", the greedy answer to its prompt has to be the recorded one.

    Raises:
        InvalidData: it answers something else.
        TurnwiseError: it cannot answer.
    """
    check = version.content.scorecard.get(CHECK_KEY)
    prompt, answer = (WARM_UP_PROMPT, None) if check is None else _read_check(check, version)
    text = _greedy_answer(service, prompt, CHECK_TOKENS if answer is not None else 1)
    if answer is not None and text != answer:
        raise InvalidData(
            f"{version.reference} does not give the recorded answer to its check, so it is not the model that was "
            "evaluated. The version is not served."
        )


def greedy_check(service: ChatService, prompt: str) -> Mapping[str, Any]:
    """The "check" of a scorecard for a model: a prompt and its greedy answer. Blocks."""
    return {"prompt": prompt, "answer": _greedy_answer(service, prompt, CHECK_TOKENS)}


def _greedy_answer(service: ChatService, prompt: str, max_tokens: int) -> str:
    sampling = {"temperature": 0, "max_tokens": max_tokens}
    response = asyncio.run(service.reply(ChatRequest(messages=(Message("user", prompt),), sampling=sampling)))
    if response.finish_reason in ("error", "cancelled"):
        raise TurnwiseError(f"The model {service.name} cannot answer.")
    return response.text


def _read_check(check: Any, version: ModelVersion) -> tuple[str, str]:
    if isinstance(check, Mapping):
        prompt, answer = check.get("prompt"), check.get("answer")
        if isinstance(prompt, str) and isinstance(answer, str):
            return prompt, answer
    raise InvalidData(f"The check in the scorecard of {version.reference} needs a 'prompt' and an 'answer'.")
