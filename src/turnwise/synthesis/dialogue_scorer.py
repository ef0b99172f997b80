"""Scores dialogues with a model. Higher is better for every score; logarithms are natural.

* `likelihood`: mean log-probability of the reply tokens, given all earlier messages.
* `relevance`: mean of log p(token | dialogue) − log p(token | empty user message) over the reply tokens, which is
  pointwise mutual information (Li et al. 2016, equation 9). Generic replies score low.
* `novelty`: fraction of word trigrams in the dialogue that do not repeat an earlier one (distinct-n, Li et al. 2016).
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from turnwise.chat.service import EngineChatService
from turnwise.core.chat_request import ChatRequest, OutputOptions
from turnwise.core.errors import TemplateError, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.core.ordered_results import async_results_in_order
from turnwise.data.check import WORD_PATTERN
from turnwise.data.rows import Record

SCORES_KEY, SCORER_KEY = "scores", "scorer"  # keys in the metadata of a scored dialogue
NGRAM_LENGTH = 3  # words


@dataclass(frozen=True)
class DialogueScorer:
    """Scores dialogues with the model of a chat service."""

    service: EngineChatService

    @cached_property
    def _empty_prompt(self) -> tuple[int, ...]:
        """Token ids of a prompt with an empty user message.

        They are cut out of a rendered message with content, because some templates leave an empty message out.
        """
        rendered = self.service.renderer.render([Message("user", "?")], add_generation_prompt=True)
        (span,) = rendered.spans
        if span is None:
            raise UserError("This model cannot score replies: its chat template leaves out user messages.")
        return (*rendered.ids[: span[0]], *rendered.ids[span[1] :])

    async def scores(self, conversation: Conversation) -> dict[str, float]:
        """Return the scores of a dialogue, rounded to four decimals.

        Only `novelty` is returned if the model cannot score any reply: the dialogue has none, no reply fits the
        context, or the chat template rejects the messages.
        """
        scores = {"novelty": novelty(conversation)}
        try:
            rendered = self.service.renderer.render(conversation.messages, tools=conversation.tools)
        except TemplateError:
            return scores
        ids, prompt = rendered.ids, self._empty_prompt
        context_length = self.service.context_length
        replies = [
            (start, end)
            for start, end in _true_spans(rendered.assistant_mask)
            if start > 0 and end <= context_length and len(prompt) + end - start <= context_length
        ]
        if replies:
            isolated = [(*prompt, *ids[start:end]) for start, end in replies]
            in_dialogue, *in_isolation = await asyncio.gather(
                *map(self._logprobs, [tuple(ids[:context_length]), *isolated])
            )
            # The first token has no logprob, so the logprob of token i is at index i - 1.
            conditional = [logprob for start, end in replies for logprob in in_dialogue[start - 1 : end - 1]]
            unconditional = [logprob for logprobs in in_isolation for logprob in logprobs[len(prompt) - 1 :]]
            scores["likelihood"] = sum(conditional) / len(conditional)
            scores["relevance"] = (sum(conditional) - sum(unconditional)) / len(conditional)
        return {name: round(value, 4) for name, value in scores.items()}

    async def score_record(self, item: Record) -> Record:
        """Return the record with scores in its metadata. Documents, which have no replies, are returned unchanged."""
        if not isinstance(item, Conversation):
            return item
        scores = await self.scores(item)
        return replace(item, meta={**item.meta, SCORES_KEY: scores, SCORER_KEY: self.service.name})

    async def score_all(self, items: Iterable[Record], max_in_flight: int) -> AsyncGenerator[Record, None]:
        """Yield the records with their scores, in order; at most `max_in_flight` are scored at the same time."""
        async with aclosing(async_results_in_order(self.score_record, items, max_in_flight)) as scored_items:
            async for item in scored_items:
                yield item

    async def _logprobs(self, ids: tuple[int, ...]) -> list[float]:
        """Log-probability of every token except the first."""
        response = await self.service.reply(
            ChatRequest(
                sampling={"logprobs": True},
                prompt=ids,
                output=OutputOptions(prompt_output="logprobs", prompt_only=True),
            )
        )
        return [report.token.logprob for report in response.choices[0].prompt_logprobs]


def _true_spans(mask: Sequence[bool]) -> list[tuple[int, int]]:
    """Start and end of every run of True."""
    padded = [False, *mask, False]
    edges = [index for index, (before, after) in enumerate(pairwise(padded)) if before != after]
    return list(zip(edges[::2], edges[1::2], strict=True))


def novelty(conversation: Conversation) -> float:
    """Fraction of word trigrams, within messages, that do not repeat an earlier one; 1 if there are no trigrams."""
    texts = (message.content for message in conversation.messages if message.role in ("user", "assistant"))
    trigrams = []
    for text in texts:
        words = WORD_PATTERN.findall(text.lower())
        trigrams += [tuple(words[start : start + NGRAM_LENGTH]) for start in range(len(words) - NGRAM_LENGTH + 1)]
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0


def scores_of(item: Record) -> Mapping[str, float]:
    """Scores in the metadata of a record; empty if it has not been scored."""
    scores = item.meta.get(SCORES_KEY)
    if not isinstance(scores, Mapping):
        return {}
    return {str(name): float(value) for name, value in scores.items() if isinstance(value, int | float)}
