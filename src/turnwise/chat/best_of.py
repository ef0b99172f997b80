"""`best_of`: generate several choices and return the best ones.

Choices are ranked by the scores of the service's `ChoiceRanker`, if it has one; else by the mean log-probability of
their tokens. The sum would prefer short choices (Jurafsky and Martin 2025, 10.2; OpenAI reference: "highest log
probability per token").
"""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatChoice, ChatDelta, ChatResponse
from turnwise.core.reply_scoring import ChoiceRanker


def expand_best_of(request: ChatRequest) -> ChatRequest:
    """The request that generates all candidates, with log-probabilities for the ranking."""
    if request.output.best_of <= request.output.n:
        return request
    output = replace(request.output, n=request.output.best_of, is_ranked=True)
    return replace(request, output=output, sampling={**request.sampling, "logprobs": True})


async def with_scores(
    deltas: AsyncGenerator[ChatDelta, None], ranker: ChoiceRanker, request: ChatRequest, prompt_ids: Sequence[int]
) -> AsyncGenerator[ChatDelta, None]:
    """The deltas; the last one has the scores of all choices, which are computed when they are complete.

    An empty choice ranks last: no ranker has learned from empty replies. Choices of which one calls a tool have no
    scores: the ranker compares texts. Raises as `ChoiceRanker.score` does.
    """
    texts: list[list[str]] = [[] for _ in range(request.output.n)]
    has_tool_calls = False
    async with aclosing(deltas):
        async for delta in deltas:
            texts[delta.index].append(delta.text)
            has_tool_calls |= bool(delta.tool_calls)
            if delta.usage is not None and not has_tool_calls:
                replies = ["".join(text) for text in texts]
                scores = await ranker.score(prompt_ids, replies, tenant=request.scheduling.tenant)
                ranked = (score if reply.strip() else -math.inf for score, reply in zip(scores, replies, strict=True))
                delta = replace(delta, choice_scores=tuple(ranked))
            yield delta


def select_best(response: ChatResponse, request: ChatRequest) -> ChatResponse:
    """The best `n` choices, best first. The usage includes all candidates."""
    if request.output.best_of <= request.output.n:
        return response
    scores = response.choice_scores or tuple(_mean_logprob(choice) for choice in response.choices)
    order = sorted(range(len(scores)), key=lambda index: scores[index], reverse=True)[: request.output.n]
    ranked = [response.choices[index] for index in order]
    if not request.sampling.get("logprobs"):
        ranked = [replace(choice, logprobs=()) for choice in ranked]
    return replace(response, choices=tuple(ranked), choice_scores=())


def _mean_logprob(choice: ChatChoice) -> float:
    return -math.inf if choice.mean_logprob is None else choice.mean_logprob  # an empty choice ranks last
