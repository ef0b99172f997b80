"""No repeated n-grams (Paulus et al. 2018): a token that would complete an n-gram of prompt and answer is masked.

Places are looked up by the last few tokens before them and then compared, so that long n-grams take no more memory than
short ones. What is known of the prompt is shared by all beams of a search.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from turnwise.core.ports import GenerationRequest

ORDER = 50
LONGEST_KEY = 8  # tokens that a place is looked up by

Key = tuple[int, ...]


class NoRepeatNgramProcessor:
    """Where each few tokens in a row were followed by something: in the prompt, and in the answer so far."""

    def __init__(self, size: int, prompt: tuple[int, ...]) -> None:
        self._before = size - 1
        self._width = min(self._before, LONGEST_KEY)
        self._prompt = prompt
        self._said: list[int] = []
        places: defaultdict[Key, list[int]] = defaultdict(list)
        for place in range(self._before, len(prompt)):
            places[prompt[place - self._width : place]].append(place)
        self._in_prompt: Mapping[Key, Sequence[int]] = places
        self._in_answer: dict[Key, tuple[int, ...]] = {}

    def apply(self, logits_V: Tensor) -> None:
        """Mask what came after the last n − 1 tokens before."""
        end = len(self._prompt) + len(self._said)
        if end < self._before:
            return
        last = self._tokens(end - self._before, end)
        key = last[self._before - self._width :]
        places = (*self._in_prompt.get(key, ()), *self._in_answer.get(key, ()))
        banned = {self._token(place) for place in places if self._tokens(place - self._before, place) == last}
        if banned:
            logits_V[torch.tensor(sorted(banned), device=logits_V.device)] = -torch.inf

    def accept(self, token: int) -> None:
        """The n-gram that ends here."""
        place = len(self._prompt) + len(self._said)
        if place >= self._before:
            key = self._tokens(place - self._width, place)
            self._in_answer[key] = (*self._in_answer.get(key, ()), place)
        self._said.append(token)

    def fork(self) -> "NoRepeatNgramProcessor":
        """Another that has seen the same."""
        twin = NoRepeatNgramProcessor(self._before + 1, ())
        twin._prompt, twin._in_prompt = self._prompt, self._in_prompt
        twin._said, twin._in_answer = self._said.copy(), self._in_answer.copy()
        return twin

    def _token(self, place: int) -> int:
        return self._prompt[place] if place < len(self._prompt) else self._said[place - len(self._prompt)]

    def _tokens(self, start: int, end: int) -> Key:
        own = len(self._prompt)
        if end <= own:
            return self._prompt[start:end]
        return (*self._prompt[start:own], *self._said[max(0, start - own) : end - own])


def start(request: GenerationRequest) -> NoRepeatNgramProcessor | None:
    """None at 0."""
    size = request.params.no_repeat_ngram_size
    return NoRepeatNgramProcessor(size, request.prompt_ids) if size else None
