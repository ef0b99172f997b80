"""Checks of a chat request: fields that contradict each other or do not fit the model. Searches: `search_checks`."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidData, InvalidParameter, UserError
from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer_config import SPECIAL_TOKEN_NAMES

# Template variables that a request cannot set.
RESERVED_VARIABLES = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"}
)


def check_parameters(params: GenerationParams, request: ChatRequest, vocab_size: int) -> None:
    """Check generation parameters that depend on each other, on other fields or on the vocabulary.

    Raises `InvalidParameter`.
    """
    _check_token_ids("logit_bias", [id for id, _ in params.logit_bias], vocab_size)
    _check_token_ids("stop_token_ids", params.stop_token_ids, vocab_size)
    _check_token_ids("token_ids", request.output.distribution.token_ids, vocab_size)
    if params.top_logprobs and not params.logprobs:
        raise InvalidParameter("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
    if params.max_tokens is not None and params.min_tokens > params.max_tokens:
        raise InvalidParameter(
            "min_tokens", f"'min_tokens' ({params.min_tokens}) is more than the token limit ({params.max_tokens})."
        )
    grammar_field = _grammar_field(request)
    if grammar_field is not None:
        for name, value in (("ignore_eos", params.ignore_eos), ("min_tokens", params.min_tokens)):
            if value:
                raise InvalidParameter(
                    name, f"'{name}' contradicts '{grammar_field}', whose grammar decides when the response ends."
                )
    if request.output.n > 1 and request.conversation_id is not None:
        name = "best_of" if request.output.best_of > 1 else "n"
        raise InvalidParameter(
            name, f"A stored conversation continues with one choice. Leave '{name}' or 'conversation_id' out."
        )


def _check_token_ids(name: str, ids: Sequence[int], vocab_size: int) -> None:
    for id in ids:
        if id >= vocab_size:
            raise InvalidParameter(name, f"'{name}': token {id} is outside the vocabulary (0 to {vocab_size - 1}).")


def _grammar_field(request: ChatRequest) -> str | None:
    """The request field whose grammar constrains the response; None without a grammar."""
    if request.output.format is not None:
        return request.output.format.param
    return "tools" if request.tools.visible else None


def check_template_variables(variables: Mapping[str, Any], renderer: Renderer, model: str) -> None:
    """Check that the template uses each variable and that no value contains a special token.

    Raises `InvalidParameter`.
    """
    for name, value in variables.items():
        if (
            name in RESERVED_VARIABLES
            or name in SPECIAL_TOKEN_NAMES
            or not re.search(rf"\b{re.escape(name)}\b", renderer.chat_template)
        ):
            raise InvalidParameter(name, f"The chat template of the model '{model}' has no '{name[:60]}' to set.")
        text = json.dumps(value, ensure_ascii=False)
        if any(token in text for token in renderer.tokenizer.special_tokens):
            raise InvalidParameter(name, f"'{name[:60]}' contains one of the model's special tokens.")


def check_unicode(messages: Sequence[Message]) -> None:
    """Reject unpaired surrogates, which a tokenizer cannot encode. Python creates them from invalid UTF-8.

    Raises `InvalidData`.
    """
    for message in messages:
        call_text = "".join(f"{call.id}{call.name}{call.arguments}" for call in message.tool_calls)
        try:
            f"{message.content}{message.name}{call_text}{message.tool_call_id}".encode()
        except UnicodeEncodeError:
            raise InvalidData(f"A message of the {message.role} is not valid Unicode text.") from None


def check_continuation(request: ChatRequest, model: str, *, is_encoder_decoder: bool) -> None:
    """Check that the last message can be continued, if the request asks for it. Raises `UserError`."""
    if request.context.answer_ids:
        _check_answer_ids(request, model, is_encoder_decoder=is_encoder_decoder)
    if not request.context.continue_final_message:
        return
    if not request.messages or request.messages[-1].role != "assistant":
        raise UserError("'continue_final_message' needs the last message to be from the assistant.")
    if is_encoder_decoder:
        raise UserError(f"The model '{model}' is an encoder-decoder model and cannot continue a message.")


def _check_answer_ids(request: ChatRequest, model: str, *, is_encoder_decoder: bool) -> None:
    name = "answer_tokens"
    for field, is_set in (
        ("continue_final_message", request.context.continue_final_message),
        ("tools", bool(request.tools.visible)),
        ("prediction", request.output.prediction is not None),
    ):
        if is_set:
            raise InvalidParameter(name, f"'{name}' cannot be combined with '{field}'. Leave one of them out.")
    if is_encoder_decoder:
        raise InvalidParameter(name, f"The model '{model}' is an encoder-decoder model and cannot continue an answer.")


def check_no_scenario(request: ChatRequest) -> None:
    """Raise `InvalidParameter` for a request of a scenario or of documents, at a service that has neither."""
    if request.service.scenario is not None:
        raise InvalidParameter(
            "scenario", "'scenario' is not supported: this server has no scenarios.", code="unsupported_value"
        )
    if request.service.knowledge:
        raise InvalidParameter(
            "knowledge", "'knowledge' is not supported: this server has no knowledge bases.",
            code="unsupported_value",
        )  # fmt: skip
