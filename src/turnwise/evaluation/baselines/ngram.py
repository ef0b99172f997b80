"""N-gram baseline: a Kneser–Ney model of assistant messages. It sees three tokens back and no question."""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Conversation
from turnwise.evaluation.baselines import ComparedModel
from turnwise.evaluation.kneser_ney import KneserNey
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, LoglikelihoodQuery
from turnwise.evaluation.scored_span import ScoredSpan, find_scored_span
from turnwise.evaluation.system_under_test import EMPTY_GENERATION, OnQueriesDone
from turnwise.text.rendering.renderer import Renderer

ORDER = 4  # tokens per n-gram
DEFAULT_MAX_TOKENS = 256  # per answer


class NgramBaseline:
    """An n-gram model over the token ids of the model it is compared with. It generates and scores.

    Args:
        dialogues: training dialogues; only assistant messages are learned.
        renderer: the model's renderer.
        context_length: the model's context length, so that the same tokens are scored.
        order: tokens per n-gram.
        max_tokens: maximum tokens of an answer.
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
        self.model = KneserNey(self._training_texts(dialogues), order=order, vocab_size=renderer.tokenizer.vocab_size)

    def generate(
        self, queries: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone
    ) -> list[GenerationOutput]:
        """Sample an answer token by token, or take the most likely tokens if the query is greedy."""
        outputs = []
        for query, seed in queries:
            outputs.append(self._generate(query, seed))
            on_done(1)
        return outputs

    def loglikelihood(self, queries: Sequence[LoglikelihoodQuery], on_done: OnQueriesDone) -> list[Loglikelihood]:
        """Score the same tokens that a model is scored on."""
        outputs = []
        for query in queries:
            try:
                span = find_scored_span(self.renderer, query, self.context_length)
            except TemplateError:  # the template rejects the dialogue: nothing is scored
                span = ScoredSpan((0,), (), 0)
            nll = -math.fsum(map(math.log, self.model.probabilities(span.token_ids, span.positions)))
            outputs.append(Loglikelihood(nll, len(span.positions), span.num_bytes))
            on_done(1)
        return outputs

    def _training_texts(self, dialogues: Sequence[Conversation]) -> Iterator[tuple[Sequence[int], Sequence[bool]]]:
        """Token ids and assistant mask of every dialogue that the template accepts."""
        for dialogue in dialogues:
            with suppress(TemplateError):
                rendered = self.renderer.render(dialogue.messages, tools=dialogue.tools)
                yield rendered.ids, rendered.assistant_mask

    def _generate(self, query: GenerationQuery, seed: int) -> GenerationOutput:
        try:
            prompt_ids = self.renderer.render(query.history, add_generation_prompt=True, tools=query.tools).ids
        except TemplateError:
            return EMPTY_GENERATION
        rng = random.Random(f"{seed} {prompt_ids}")
        token_ids: list[int] = []
        while len(token_ids) < self.max_tokens:
            probabilities = self.model.distribution([*prompt_ids, *token_ids][-self.model.order :])
            if query.greedy:
                token = int(probabilities.argmax())
            else:
                token = min(int(np.searchsorted(probabilities.cumsum(), rng.random(), "right")), len(probabilities) - 1)
            token_ids.append(token)
            if token in self.renderer.tokenizer.stop_ids:
                return GenerationOutput(self.renderer.tokenizer.decode(token_ids), len(token_ids), "stop")
        return GenerationOutput(self.renderer.tokenizer.decode(token_ids), len(token_ids), "length")


def build(dialogues: Sequence[Conversation], model: ComparedModel) -> NgramBaseline:
    """Build the baseline with the tokenizer and the context length of a model."""
    return NgramBaseline(
        dialogues,
        model.load_renderer(),
        context_length=model.read_context_length(),
        max_tokens=model.max_tokens or DEFAULT_MAX_TOKENS,
    )
