"""Span corruption: pieces of a text are cut out, and the decoder says them (pre-training of encoder–decoder models).

The encoder reads the text with a sentinel in place of each piece, "Thank you <extra_id_0> me to your party
<extra_id_1> week", and the decoder learns "<extra_id_0> for inviting <extra_id_1> last <extra_id_2>" (Raffel et al.
2020, T5): 15 % of the tokens, in pieces of three on average, others every epoch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from turnwise.core.errors import UserError
from turnwise.core.messages import Conversation
from turnwise.data.sources import Document
from turnwise.models.language_model import ModelKind
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training import objective
from turnwise.training.examples.batches import Example
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives.clm import text_ids
from turnwise.training.objectives.seq2seq import answer

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))


class Objective(objective.Objective):
    """Learns to say what was cut out.

    Attributes:
        share_cut: of the tokens, which share is cut out.
        mean_length: tokens of a piece, on average.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"encoder_decoder"})

    share_cut: float = Field(0.15, gt=0, lt=1)
    mean_length: float = Field(3.0, ge=1)

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """The text, in pieces that fit a row; what is cut out is drawn later."""
        ids = np.asarray(text_ids(item, frame), dtype=np.int32)
        for start in range(0, len(ids), frame.length):
            piece = ids[start : start + frame.length]
            if len(piece) > 3:
                yield Example(piece, piece.copy())

    def augment(self, example: Example, rng: np.random.Generator, frame: ExampleContext) -> Example:
        """Cut some pieces out."""
        ids = example.ids.tolist()
        cut = sample_spans(len(ids), self.share_cut, self.mean_length, rng)
        source: list[int] = []
        said: list[int] = []
        for number, sentinel in enumerate(self._sentinels(frame.tokenizer)):
            if number == len(cut):
                said.append(sentinel)
                break
            start, end = cut[number]
            source += [*ids[cut[number - 1][1] if number else 0 : start], sentinel]
            said += [sentinel, *ids[start:end]]
        source += ids[cut[-1][1] :]
        return replace(answer(source, said, frame), units=1)

    def special_tokens(self) -> Sequence[str]:
        """The sentinels."""
        return SENTINELS

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise where there are no sentinels."""
        if len(self._sentinels(tokenizer)) < 2:
            raise UserError(
                f"Span corruption ('span') needs a tokenizer with the tokens {SENTINELS[0]}, {SENTINELS[1]} and so on; "
                "this one has none."
            )

    @staticmethod
    def _sentinels(tokenizer: Tokenizer) -> list[int]:
        found = (tokenizer.token_to_id(text) for text in SENTINELS)
        return [id for id in found if id is not None]


def sample_spans(length: int, share: float, mean: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Pieces `[start, end)` of a text, apart from each other, that make up about `share` of it; at least one.

    Both the pieces' lengths and those of what lies between are a random composition of what there is, as in T5.
    """
    hidden = int(np.clip(round(length * share), 1, length - 1))
    pieces = int(np.clip(round(hidden / mean), 1, min(hidden, length - hidden, len(SENTINELS) - 1)))
    inside, between = _composition(hidden, pieces, rng), _composition(length - hidden, pieces, rng)
    ends = np.cumsum(inside + between)
    return [(int(end - size), int(end)) for end, size in zip(ends, inside, strict=True)]


def _composition(total: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """`total` as a sum of so many positive numbers, each such sum as likely as another."""
    borders = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff(np.concatenate(([0], borders, [total])))
