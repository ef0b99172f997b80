"""Masked language modelling: some tokens are hidden, and the model, which sees both sides, says what they were.

L = −1/|M| Σ_{k ∈ M} log P(xₖ | x̃), M being a random 15 % of the tokens; in x̃ 80 % of those are replaced by the mask
token, 10 % by a random one, and 10 % stay (Devlin et al. 2019, BERT). Every epoch hides others (Liu et al. 2019).
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
from turnwise.text.tokenization.tokenizer import MASK_TOKEN, Tokenizer
from turnwise.training import objective
from turnwise.training.examples.batches import IGNORED, Example
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives.clm import text_ids

KEPT, RANDOM = 0.1, 0.1  # of the hidden tokens


class Objective(objective.Objective):
    """Learns to fill gaps.

    Attributes:
        share_masked: of the tokens, which share is hidden.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"encoder"})

    share_masked: float = Field(0.15, gt=0, lt=1)

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """The text, in pieces that fit a row; what is hidden is drawn later."""
        ids = np.asarray(text_ids(item, frame), dtype=np.int32)
        opening = np.asarray(frame.tokenizer.bos_ids, dtype=np.int32)
        room = frame.length - len(opening)
        for start in range(0, len(ids), room):
            piece = np.concatenate((opening, ids[start : start + room]))
            if len(piece) > len(opening) + 1:
                yield Example(piece, piece.copy())

    def augment(self, example: Example, rng: np.random.Generator, frame: ExampleContext) -> Example:
        """Hide some tokens, at least one; special tokens stay."""
        special = np.isin(example.ids, list(frame.tokenizer.special_ids))
        places = np.flatnonzero(~special)
        if not len(places):
            places = np.arange(len(example.ids))
        count = max(1, round(len(places) * self.share_masked))
        hidden = rng.choice(places, size=count, replace=False)
        fate = rng.random(count)
        ids, targets = example.ids.copy(), np.full(len(example.ids), IGNORED, dtype=np.int32)
        targets[hidden] = example.ids[hidden]
        mask = frame.tokenizer.mask_id
        assert mask is not None, "checked before the run"
        ids[hidden[fate >= KEPT + RANDOM]] = mask
        drawn = hidden[(fate >= KEPT) & (fate < KEPT + RANDOM)]
        ids[drawn] = rng.integers(frame.tokenizer.vocab_size, size=len(drawn))
        return replace(example, ids=ids, targets=targets)

    def special_tokens(self) -> Sequence[str]:
        """The token that stands for what is hidden."""
        return (MASK_TOKEN,)

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise where there is no mask token."""
        if tokenizer.mask_id is None:
            raise UserError("Masked language modelling ('mlm') needs a tokenizer with a mask token; this one has none.")
