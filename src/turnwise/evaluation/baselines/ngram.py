"""A baseline with likelihoods: an n-gram model of what assistants say. It sees three tokens back, and no question."""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Conversation
from turnwise.evaluation.baselines.kneser_ney import KneserNey
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, LoglikelihoodQuery
from turnwise.evaluation.scored_span import ScoredSpan, find_scored_span
from turnwise.evaluation.system_under_test import EMPTY_GENERATION, OnQueriesDone
from turnwise.text.rendering.renderer import Renderer

ORDER = 4
DEFAULT_MAX_TOKENS = 256  # tokens of an answer, where nobody says


class NgramBaseline:
    """An n-gram model over the tokens of a model it is to be compared with (it generates and scores).

    Args:
        dialogues: to learn from; of them, what is the assistant's to say.
        renderer: that model's.
        context_length: that model's, so that the same tokens count.
        order: how many tokens a run has.
        most: tokens of an answer.
    """

    def __init__(
        self,
        dialogues: Sequence[Conversation],
        renderer: Renderer,
        *,
        context_length: int,
        order: int = ORDER,
        max_tokens: int = DEFAULT_MAX_TOKENS,
    ) -> None:
        self.name = f"{order}-gram"
        self.renderer, self.context_length, self.max_tokens = renderer, context_length, max_tokens
        self.model = KneserNey(self._learned(dialogues), order=order, vocab_size=renderer.tokenizer.vocab_size)

    def generate(
        self, queries: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone
    ) -> list[GenerationOutput]:
        """Draw an answer token by token, or take the likeliest of each where the answer is to be greedy."""
        found = []
        for ask, seed in queries:
            found.append(self._answer(ask, seed))
            on_done(1)
        return found

    def loglikelihood(self, queries: Sequence[LoglikelihoodQuery], on_done: OnQueriesDone) -> list[Loglikelihood]:
        """Score exactly the tokens that count for a model."""
        found = []
        for score in queries:
            try:
                read = find_scored_span(self.renderer, score, self.context_length)
            except TemplateError:  # what it cannot even be asked it has no opinion of
                read = ScoredSpan((0,), (), 0)
            nats = -math.fsum(map(math.log, self.model.probabilities(read.token_ids, read.positions)))
            found.append(Loglikelihood(nats, len(read.positions), read.num_bytes))
            on_done(1)
        return found

    def _learned(self, dialogues: Sequence[Conversation]) -> Iterator[tuple[Sequence[int], Sequence[bool]]]:
        """What the template refuses is not learned from."""
        for dialogue in dialogues:
            with suppress(TemplateError):
                rendered = self.renderer.render(dialogue.messages, tools=dialogue.tools)
                yield rendered.ids, rendered.loss_mask

    def _answer(self, ask: GenerationQuery, seed: int) -> GenerationOutput:
        try:
            before = self.renderer.render(ask.history, add_generation_prompt=True, tools=ask.tools).ids
        except TemplateError:
            return EMPTY_GENERATION
        dice = random.Random(f"{seed} {before}")
        said: list[int] = []
        while len(said) < self.max_tokens:
            chances = self.model.distribution([*before, *said][-self.model.order :])
            if ask.greedy:
                token = int(chances.argmax())
            else:
                token = min(int(np.searchsorted(chances.cumsum(), dice.random(), "right")), len(chances) - 1)
            said.append(token)
            if token in self.renderer.tokenizer.stop_ids:
                return GenerationOutput(self.renderer.tokenizer.decode(said), len(said), "stop")
        return GenerationOutput(self.renderer.tokenizer.decode(said), len(said), "length")
