"""Span corruption: cut spans out of a text and predict them (pre-training of encoder–decoder models).

The encoder reads the text with a sentinel in place of each span, "Thank you <extra_id_0> me to your party <extra_id_1>
week". The decoder predicts "<extra_id_0> for inviting <extra_id_1> last <extra_id_2>" (T5, Raffel et al. 2020). 15 % of
the tokens are cut out, in spans of three tokens on average; every epoch draws new spans.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from turnwise.core.errors import UserError
from turnwise.core.messages import Conversation
from turnwise.data.rows import Document
from turnwise.models.language_model import ModelKind
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training import objective
from turnwise.training.examples.example import Example
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives.clm import text_ids
from turnwise.training.objectives.seq2seq import decoder_example

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))


class SpanObjective(objective.Objective):
    """Cross-entropy on the spans that are cut out.

    Attributes:
        corruption_ratio: share of tokens to cut out.
        mean_span_length: mean span length in tokens.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"encoder_decoder"})

    corruption_ratio: float = Field(0.15, gt=0, lt=1)
    mean_span_length: float = Field(3.0, ge=1)

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield the text in windows of at most `context.length` tokens; `augment` cuts the spans out."""
        ids = np.asarray(text_ids(item, context), dtype=np.int32)
        for start in range(0, len(ids), context.length):
            window = ids[start : start + context.length]
            if len(window) > 3:
                yield Example(window, window.copy())

    def augment(self, example: Example, rng: np.random.Generator, context: ExampleContext) -> Example:
        """Cut random spans out of the text."""
        ids = example.ids.tolist()
        spans = sample_spans(len(ids), self.corruption_ratio, self.mean_span_length, rng)
        source: list[int] = []
        target: list[int] = []
        for number, sentinel in enumerate(self._sentinels(context.tokenizer)):
            if number == len(spans):  # one more sentinel ends the target
                target.append(sentinel)
                break
            start, end = spans[number]
            source += [*ids[spans[number - 1][1] if number else 0 : start], sentinel]
            target += [sentinel, *ids[start:end]]
        source += ids[spans[-1][1] :]
        return replace(decoder_example(source, target, context), units=1)

    def special_tokens(self) -> Sequence[str]:
        """The sentinels."""
        return SENTINELS

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise `UserError` if the tokenizer has fewer than two sentinels."""
        if len(self._sentinels(tokenizer)) < 2:
            raise UserError(
                f"Span corruption ('span') needs a tokenizer with the tokens {SENTINELS[0]}, {SENTINELS[1]} and so on; "
                "this one has none."
            )

    @staticmethod
    def _sentinels(tokenizer: Tokenizer) -> list[int]:
        ids = (tokenizer.token_to_id(text) for text in SENTINELS)
        return [id for id in ids if id is not None]


def sample_spans(length: int, ratio: float, mean_length: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw disjoint spans `[start, end)` that cover about `ratio` of a text; at least one span.

    As in T5, span lengths and gap lengths are random compositions of their totals.
    """
    num_cut = int(np.clip(round(length * ratio), 1, length - 1))
    num_spans = int(np.clip(round(num_cut / mean_length), 1, min(num_cut, length - num_cut, len(SENTINELS) - 1)))
    sizes, gaps = _random_composition(num_cut, num_spans, rng), _random_composition(length - num_cut, num_spans, rng)
    ends = np.cumsum(sizes + gaps)
    return [(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True)]


def _random_composition(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` positive integers that sum to `total`, uniformly over all such compositions."""
    borders = np.sort(rng.choice(total - 1, size=count - 1, replace=False)) + 1
    return np.diff(np.concatenate(([0], borders, [total])))
