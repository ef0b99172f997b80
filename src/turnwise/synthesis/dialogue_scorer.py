"""Scores of dialogues, by a model that reads them; of every score more is better.

* `likelihood`: the mean log-probability of a token of the replies, given all that was said before.
* `relevance`: how much likelier a token of the replies is for what was said before: the mean of
  log p(token | talk) − log p(token | the reply so far, after an empty turn), which is pointwise mutual information (Li
  et al. 2016, equation 9). What could be said to anybody has little.
* `novelty`: the share of runs of three words in the dialogue that are not a repeat of an earlier one (Li et al. 2016).

Logarithms are natural ones.
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
from turnwise.data.check import WORD_PATTERN
from turnwise.data.rows import Record
from turnwise.synthesis.ordered_tasks import map_in_order

SCORES, JUDGE = "scores", "judge"  # their keys in a dialogue's `meta`
RUN = 3  # words


@dataclass(frozen=True)
class DialogueScorer:
    """A model that scores."""

    service: EngineChatService

    @cached_property
    def _nothing(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the template writes before and after the content of a user's turn, up to where the reply begins."""
        rendered = self.service.renderer.render([Message("user", "?")], add_generation_prompt=True)
        (span,) = rendered.spans
        if span is None:
            raise UserError("This model's chat template leaves out what the user says, so it cannot judge replies.")
        return tuple(rendered.ids[: span[0]]), tuple(rendered.ids[span[1] :])

    async def scores(self, conversation: Conversation) -> dict[str, float]:
        """The scores of a dialogue; `novelty` alone where there is no reply to judge.

        That is where none was said, none fits the context, or the judge's chat template refuses the messages.
        """
        found = {"novelty": novelty(conversation)}
        try:
            rendered = self.service.renderer.render(conversation.messages, tools=conversation.tools)
        except TemplateError:
            return found
        ids, (before, after) = rendered.ids, self._nothing
        context, frame = self.service.context_length, len(before) + len(after)
        replies = [
            (start, end)
            for start, end in _runs(rendered.loss_mask)
            if start > 0 and end <= context and frame + end - start <= context
        ]
        if replies:
            alone = [(*before, *after, *ids[start:end]) for start, end in replies]
            said, *unasked = await asyncio.gather(*map(self._logprobs, [tuple(ids[:context]), *alone]))
            told = [value for start, end in replies for value in said[start - 1 : end - 1]]
            untold = [value for values in unasked for value in values[frame - 1 :]]
            found["likelihood"] = sum(told) / len(told)
            found["relevance"] = (sum(told) - sum(untold)) / len(told)
        return {name: round(value, 4) for name, value in found.items()}

    async def scored(self, item: Record) -> Record:
        """The item with its scores in `meta`; documents, which have no replies, as they are."""
        if not isinstance(item, Conversation):
            return item
        return replace(item, meta={**item.meta, SCORES: await self.scores(item), JUDGE: self.service.name})

    async def score_all(self, items: Iterable[Record], at_once: int) -> AsyncGenerator[Record, None]:
        """The items with their scores, in their order, `at_once` under way."""
        async with aclosing(map_in_order(self.scored, items, at_once)) as judged:
            async for item in judged:
                yield item

    async def _logprobs(self, ids: tuple[int, ...]) -> list[float]:
        """The log-probability of every token but the first."""
        reply = await self.service.reply(
            ChatRequest(
                sampling={"logprobs": True},
                prompt=ids,
                output=OutputOptions(prompt_output="logprobs", prompt_only=True),
            )
        )
        return [report.token.logprob for report in reply.choices[0].prompt_logprobs]


def _runs(mask: Sequence[bool]) -> list[tuple[int, int]]:
    """Where the stretches of True begin and end."""
    closed = [False, *mask, False]
    edges = [place for place, (before, after) in enumerate(pairwise(closed)) if before != after]
    return list(zip(edges[::2], edges[1::2], strict=True))


def novelty(conversation: Conversation) -> float:
    """The share of runs of three words, within turns, that do not repeat an earlier one; 1 where there are none."""
    spoken = (message.content for message in conversation.messages if message.role in ("user", "assistant"))
    runs = []
    for text in spoken:
        words = WORD_PATTERN.findall(text.lower())
        runs += [tuple(words[place : place + RUN]) for place in range(len(words) - RUN + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0


def scores_of(item: Record) -> Mapping[str, float]:
    """What it was scored; empty where it never was."""
    found = item.meta.get(SCORES)
    if not isinstance(found, Mapping):
        return {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}
