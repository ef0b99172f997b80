"""The best of several answers: those that the model itself finds likeliest, token by token.

Ranked by the mean log-probability of an answer's tokens, which does not prefer short answers as their sum does
(Jurafsky and Martin 2025, 10.2; the published interface says "highest log probability per token").
"""

import math
from dataclasses import replace

from turnwise.core.chat_request import ChatChoice, ChatRequest, ChatResponse


def expand_best_of(turn: ChatRequest) -> ChatRequest:
    """The turn that generates all candidates, and what is needed to rank them."""
    if turn.best_of <= turn.n:
        return turn
    return replace(turn, n=turn.best_of, sampling={**turn.sampling, "logprobs": True})


def select_best(reply: ChatResponse, turn: ChatRequest) -> ChatResponse:
    """The answers that the turn asked for, likeliest first; the usage is that of all candidates."""
    if turn.best_of <= turn.n:
        return reply
    ranked = sorted(reply.choices, key=_mean, reverse=True)[: turn.n]
    if not turn.sampling.get("logprobs"):
        ranked = [replace(answer, logprobs=()) for answer in ranked]
    return replace(reply, choices=tuple(ranked))


def _mean(answer: ChatChoice) -> float:
    return -math.inf if answer.mean_logprob is None else answer.mean_logprob  # an empty answer is nobody's best
