"""Lets a version answer before requests reach it, and compares the answer with the one of its training.

The weights of a version are compared by their digest. The check shows that they also give the same answers here: with
the code, tokenizer and base model of this server. It is the beginning of a greedy continuation of a text, without a
chat template, up to the first token that another one comes near to. So rounding, which depends on the number of threads
and on what else is in a batch, does not change it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatResponse
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import InvalidData, TurnwiseError
from turnwise.core.messages import Message
from turnwise.core.model_versions import ModelVersion
from turnwise.core.parameters import PARAMETER_SPECS

CHECK_KEY = "check"  # in the scorecard: {"prompt": "…", "answer": "…"}
CHECK_PROMPTS = ("Hello", "Thank you for", "The answer is", "What can I")
CHECK_TOKENS = 32
MIN_MARGIN = 0.2  # nats between the most likely token and the next one; rounding moves them by about 0.01
WARM_UP = ChatRequest(messages=(Message("user", "Hello"),), sampling={"temperature": 0, "max_tokens": 1})


def check_answers(service: ChatService, version: ModelVersion) -> None:
    """Let a version answer. If its scorecard has a "check", the answer has to be the recorded one. Blocks.

    Raises:
        InvalidData: it answers something else.
        TurnwiseError: it cannot answer.
    """
    check = version.content.scorecard.get(CHECK_KEY)
    if check is None:
        _reply(service, WARM_UP)
        return
    prompt, answer = _read_check(check, version)
    if not _reply(service, _greedy_request(prompt)).text.startswith(answer):
        raise InvalidData(
            f"{version.reference} does not give the recorded answer to its check, so it is not the model that was "
            "evaluated. The version is not served."
        )


def record_check(service: ChatService) -> Mapping[str, Any] | None:
    """The "check" of a scorecard for a model. Blocks; not for the event loop.

    Returns None if the model is not sure of the first token after any of the prompts.
    """
    answers = {prompt: _sure_beginning(_reply(service, _greedy_request(prompt))) for prompt in CHECK_PROMPTS}
    prompt, answer = max(answers.items(), key=lambda entry: len(entry[1]))
    return {"prompt": prompt, "answer": answer} if answer else None


def _greedy_request(prompt: str) -> ChatRequest:
    """A greedy continuation, with none of the generation parameters that the server or the model sets."""
    neutral = {name: spec.neutral for name, spec in PARAMETER_SPECS.items() if spec.neutral is not None}
    sampling = {"temperature": 0, "max_tokens": CHECK_TOKENS, "logprobs": True, "top_logprobs": 2}
    return ChatRequest(prompt=prompt, sampling={**neutral, **sampling})


def _sure_beginning(response: ChatResponse) -> str:
    """The text of a response before the first token that the model was not sure of."""
    content = b""
    for entry in response.choices[0].logprobs:
        if len(entry.top) < 2 or entry.top[0].logprob - entry.top[1].logprob < MIN_MARGIN:
            break
        content += entry.token.bytes
    text = content.decode("utf-8", "ignore")
    return text if response.text.startswith(text) else ""


def _reply(service: ChatService, request: ChatRequest) -> ChatResponse:
    response = asyncio.run(service.reply(request))
    if response.finish_reason in ("error", "cancelled"):
        raise TurnwiseError(f"The model {service.name} cannot answer.")
    return response


def _read_check(check: Any, version: ModelVersion) -> tuple[str, str]:
    if isinstance(check, Mapping):
        prompt, answer = check.get("prompt"), check.get("answer")
        if isinstance(prompt, str) and isinstance(answer, str):
            return prompt, answer
    raise InvalidData(f"The check in the scorecard of {version.reference} needs a 'prompt' and an 'answer'.")
