"""Masked language modelling: hide some tokens and predict them from both sides (BERT pre-training).

L = −1/|M| Σ_{k ∈ M} log P(xₖ | x̃)

M is a random 15 % of the tokens. In x̃, 80 % of M are replaced by the mask token, 10 % by a random token, 10 % stay
(Devlin et al. 2019). Every epoch draws a new M (RoBERTa, Liu et al. 2019).
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
from turnwise.text.tokenization.tokenizer import MASK_TOKEN, Tokenizer
from turnwise.training import objective
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives.clm import text_ids

KEEP_RATIO, RANDOM_RATIO = 0.1, 0.1  # of the selected tokens


class MlmObjective(objective.Objective):
    """Cross-entropy on masked tokens.

    Attributes:
        mask_ratio: share of tokens to predict.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"encoder"})

    mask_ratio: float = Field(0.15, gt=0, lt=1)

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield the text in windows of at most `context.length` tokens; `augment` masks them."""
        ids = np.asarray(text_ids(item, context), dtype=np.int32)
        bos = np.asarray(context.tokenizer.bos_ids, dtype=np.int32)
        size = context.length - len(bos)
        for start in range(0, len(ids), size):
            window = np.concatenate((bos, ids[start : start + size]))
            if len(window) > len(bos) + 1:
                yield Example(window, window.copy())

    def augment(self, example: Example, rng: np.random.Generator, context: ExampleContext) -> Example:
        """Mask a random share of the tokens, at least one; special tokens are never selected."""
        special = np.isin(example.ids, list(context.tokenizer.special_ids))
        candidates = np.flatnonzero(~special)
        if not len(candidates):
            candidates = np.arange(len(example.ids))
        count = max(1, round(len(candidates) * self.mask_ratio))
        selected = rng.choice(candidates, size=count, replace=False)
        draws = rng.random(count)
        ids, targets = example.ids.copy(), np.full(len(example.ids), IGNORED, dtype=np.int32)
        targets[selected] = example.ids[selected]
        mask_id = context.tokenizer.mask_token_id
        assert mask_id is not None, "checked before the run"
        ids[selected[draws >= KEEP_RATIO + RANDOM_RATIO]] = mask_id
        random_indices = selected[(draws >= KEEP_RATIO) & (draws < KEEP_RATIO + RANDOM_RATIO)]
        ids[random_indices] = rng.integers(context.tokenizer.vocab_size, size=len(random_indices))
        return replace(example, ids=ids, targets=targets)

    def special_tokens(self) -> Sequence[str]:
        """The mask token."""
        return (MASK_TOKEN,)

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise `UserError` if the tokenizer has no mask token."""
        if tokenizer.mask_token_id is None:
            raise UserError("Masked language modelling ('mlm') needs a tokenizer with a mask token; this one has none.")
