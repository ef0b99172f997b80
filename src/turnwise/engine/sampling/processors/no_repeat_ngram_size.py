"""No repeated n-grams (Paulus et al. 2018): masks tokens that would complete an n-gram of prompt or output.

Positions are indexed by at most `MAX_KEY_LENGTH` tokens before them and then compared in full, so that long n-grams
take no more memory than short ones. The index of the prompt is shared by all hypotheses of a search.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from turnwise.core.inference import GenerationRequest

ORDER = 50
REASON = "It would repeat {value} tokens in a row that occur before."
MAX_KEY_LENGTH = 8  # tokens

Key = tuple[int, ...]


class NoRepeatNgramProcessor:
    """Indexes the positions of prompt and output by the tokens before them.

    Args:
        size: n.
        prompt: token ids of the prompt.
    """

    def __init__(self, size: int, prompt: tuple[int, ...]) -> None:
        self._context_length = size - 1  # tokens of an n-gram before its last
        self._key_length = min(self._context_length, MAX_KEY_LENGTH)
        self._prompt = prompt
        self._output: list[int] = []
        positions: defaultdict[Key, list[int]] = defaultdict(list)
        for position in range(self._context_length, len(prompt)):
            positions[prompt[position - self._key_length : position]].append(position)
        self._prompt_positions: Mapping[Key, Sequence[int]] = positions
        self._output_positions: dict[Key, tuple[int, ...]] = {}

    def apply(self, logits_V: Tensor) -> None:
        """Mask every token that has followed the last n − 1 tokens before."""
        end = len(self._prompt) + len(self._output)
        if end < self._context_length:
            return
        context = self._tokens(end - self._context_length, end)
        key = context[self._context_length - self._key_length :]
        positions = (*self._prompt_positions.get(key, ()), *self._output_positions.get(key, ()))
        masked = {
            self._token(position)
            for position in positions
            if self._tokens(position - self._context_length, position) == context
        }
        if masked:
            logits_V[torch.tensor(sorted(masked), device=logits_V.device)] = -torch.inf

    def accept(self, token_id: int) -> None:
        """Index the n-gram that ends with this token."""
        position = len(self._prompt) + len(self._output)
        if position >= self._context_length:
            key = self._tokens(position - self._key_length, position)
            self._output_positions[key] = (*self._output_positions.get(key, ()), position)
        self._output.append(token_id)

    def fork(self) -> "NoRepeatNgramProcessor":
        """An independent copy; the index of the prompt is shared."""
        forked = NoRepeatNgramProcessor(self._context_length + 1, ())
        forked._prompt, forked._prompt_positions = self._prompt, self._prompt_positions
        forked._output, forked._output_positions = self._output.copy(), self._output_positions.copy()
        return forked

    def _token(self, position: int) -> int:
        prompt_length = len(self._prompt)
        return self._prompt[position] if position < prompt_length else self._output[position - prompt_length]

    def _tokens(self, start: int, end: int) -> Key:
        prompt_length = len(self._prompt)
        if end <= prompt_length:
            return self._prompt[start:end]
        return (*self._prompt[start:prompt_length], *self._output[max(0, start - prompt_length) : end - prompt_length])


def start(request: GenerationRequest) -> NoRepeatNgramProcessor | None:
    """None if the size is 0."""
    size = request.params.no_repeat_ngram_size
    return NoRepeatNgramProcessor(size, request.prompt_ids) if size else None
