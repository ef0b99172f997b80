"""Answers whose first tokens are given: their text, and the tokens of a character that is not complete."""

from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import ContextLengthExceeded
from turnwise.text.streaming.detokenizer import REPLACEMENT_CHARACTER
from turnwise.text.tokenization.tokenizer import Tokenizer

MAX_CHARACTER_IDS = 4
MAX_INCOMPLETE_IDS = 3  # a character has at most four bytes, and a token at least one


def num_incomplete_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """Number of last ids that are the start of a character."""
    ids = ids[-MAX_INCOMPLETE_IDS - MAX_CHARACTER_IDS :]  # no earlier one can change how the text ends
    for count in range(min(MAX_INCOMPLETE_IDS, len(ids)) + 1):
        if not tokenizer.decode(ids[: len(ids) - count]).endswith(REPLACEMENT_CHARACTER):
            return count
    return 0  # bytes that no text has


def with_answer_text(request: ChatRequest, service: ChatService) -> ChatRequest:
    """The request with the text of the given tokens, which is stored and echoed.

    Raises:
        ContextLengthExceeded: they are longer than the context of the service.
        InvalidParameter: one of them is unknown or a special token.
    """
    context = request.context
    if not context.answer_ids or context.answer_text:
        return request
    if len(context.answer_ids) > service.context_length:
        raise ContextLengthExceeded.for_prompt(
            service.context_length, len(context.answer_ids), request.sampling.get("max_tokens") or 0, "answer_tokens"
        )
    return replace(request, context=replace(context, answer_text=service.tokens.answer_text(context.answer_ids)))
