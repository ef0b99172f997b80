"""`best_of`: generate several choices and return the most likely ones.

Choices are ranked by the mean log-probability of their tokens. The sum would prefer short choices (Jurafsky and Martin
2025, 10.2; OpenAI reference: "highest log probability per token").
"""

import math
from dataclasses import replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatChoice, ChatResponse


def expand_best_of(request: ChatRequest) -> ChatRequest:
    """The request that generates all candidates, with log-probabilities for the ranking."""
    if request.output.best_of <= request.output.n:
        return request
    output = replace(request.output, n=request.output.best_of)
    return replace(request, output=output, sampling={**request.sampling, "logprobs": True})


def select_best(response: ChatResponse, request: ChatRequest) -> ChatResponse:
    """The `n` most likely choices, best first. The usage includes all candidates."""
    if request.output.best_of <= request.output.n:
        return response
    ranked = sorted(response.choices, key=_mean_logprob, reverse=True)[: request.output.n]
    if not request.sampling.get("logprobs"):
        ranked = [replace(choice, logprobs=()) for choice in ranked]
    return replace(response, choices=tuple(ranked))


def _mean_logprob(choice: ChatChoice) -> float:
    return -math.inf if choice.mean_logprob is None else choice.mean_logprob  # an empty choice ranks last
