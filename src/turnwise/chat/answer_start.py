"""Answers whose first tokens are given: their text, and the tokens of a character that is not complete."""

from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_service import TokenInspector
from turnwise.text.streaming.detokenizer import REPLACEMENT_CHARACTER
from turnwise.text.tokenization.tokenizer import Tokenizer

MAX_INCOMPLETE_IDS = 3  # a character has at most four bytes, and a token at least one


def num_incomplete_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """Number of last ids that are the start of a character."""
    for count in range(min(MAX_INCOMPLETE_IDS, len(ids)) + 1):
        if not tokenizer.decode(ids[: len(ids) - count]).endswith(REPLACEMENT_CHARACTER):
            return count
    return 0  # bytes that no text has


def with_answer_text(request: ChatRequest, tokens: TokenInspector) -> ChatRequest:
    """The request with the text of the given tokens, which is stored and echoed. Raises `InvalidParameter`."""
    context = request.context
    if not context.answer_ids or context.answer_text:
        return request
    return replace(request, context=replace(context, answer_text=tokens.answer_text(context.answer_ids)))
