"""Draft tokens without a draft model: what followed the last few tokens at an earlier occurrence.

The last tokens of a sequence are looked up in the client's predicted output, in the conversation itself (Saxena 2023,
prompt lookup decoding) and in earlier outputs of the same scope (Oliaro et al. 2024, SuffixDecoding). Longer matches
are accepted more often. Drafts are verified (`scheduling/decode_step.py`), so they change only the time that an answer
takes; `cost_model.py` decides whether they save any.

Earlier outputs are used within their scope only, because response times would otherwise reveal what others were told.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import NamedTuple

MATCH_LENGTH = 3  # tokens that have to match
MAX_MATCH_LENGTH = 32  # longer matches are not told apart
FROM_PREDICTION = MAX_MATCH_LENGTH + 1  # stands for the match length of the client's prediction
MAX_DRAFT_TOKENS = 16
MAX_SCOPES = 256  # whose outputs are remembered
MAX_TOKENS_PER_SCOPE = 16_384  # of remembered outputs
MAX_CACHED_TOKENS = 65_536  # in all scopes; a token takes about 250 bytes, so 16 MB
SEQUENCE_PRIOR_WEIGHT = 3.0  # verified tokens of a sequence that count as much as the rate of all other sequences
MIN_DRAFTS_BEFORE_STOP = 8  # drafts after which a sequence that rejects nearly all gets none any more
MIN_ACCEPTANCE_RATE = 0.15

Key = tuple[int, ...]


class Draft(NamedTuple):
    """Draft tokens, and how many tokens before them matched (`FROM_PREDICTION` for the client's predicted output)."""

    ids: Sequence[int]
    match: int

    @property
    def is_prediction(self) -> bool:
        """True if the tokens are from the request's predicted output."""
        return self.match == FROM_PREDICTION


NO_DRAFT = Draft((), 0)


class NGramIndex:
    """Position of the last occurrence of every n-gram of `MATCH_LENGTH` tokens in a growing sequence."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._after: dict[Key, int] = {}  # n-gram → index of the token after it

    def extend(self, ids: Sequence[int]) -> None:
        """Append tokens. The n-gram at the end is not indexed: what follows it is unknown."""
        start = max(len(self.ids), MATCH_LENGTH)
        self.ids.extend(ids)
        for end in range(start, len(self.ids)):
            self._after[tuple(self.ids[end - MATCH_LENGTH : end])] = end

    def lookup(self, ids: Sequence[int]) -> Draft:
        """The tokens after the latest occurrence of the n-gram at the end of `ids`."""
        at = self._after.get(tuple(ids[-MATCH_LENGTH:]))
        if at is None:
            return NO_DRAFT
        match = MATCH_LENGTH
        limit = min(MAX_MATCH_LENGTH, at, len(ids))
        while match < limit and self.ids[at - match - 1] == ids[-match - 1]:
            match += 1
        return Draft(self.ids[at : at + MAX_DRAFT_TOKENS], match)


class SuffixCache:
    """The latest outputs of one scope, searchable by n-gram."""

    def __init__(self) -> None:
        self._outputs: deque[NGramIndex] = deque()
        self.num_tokens = 0
        self._latest: dict[Key, NGramIndex] = {}  # n-gram → the latest output that has it

    def add(self, ids: Sequence[int]) -> None:
        """Add an output, with the last tokens of its prompt before it. Drops the oldest outputs above the limit."""
        index = NGramIndex()
        index.extend(ids)
        self._outputs.append(index)
        self.num_tokens += len(ids)
        for end in range(MATCH_LENGTH, len(ids)):
            self._latest[tuple(ids[end - MATCH_LENGTH : end])] = index
        while self.num_tokens > MAX_TOKENS_PER_SCOPE:
            self._remove(self._outputs.popleft())

    def lookup(self, ids: Sequence[int]) -> Draft:
        """The tokens after the end of `ids` in the latest output that contains it."""
        index = self._latest.get(tuple(ids[-MATCH_LENGTH:]))
        return NO_DRAFT if index is None else index.lookup(ids)

    def _remove(self, index: NGramIndex) -> None:
        self.num_tokens -= len(index.ids)
        for end in range(MATCH_LENGTH, len(index.ids)):
            key = tuple(index.ids[end - MATCH_LENGTH : end])
            if self._latest.get(key) is index:
                del self._latest[key]


class SequenceDraftState:
    """Draft sources and acceptance counts of one sequence.

    Args:
        prompt: its prompt.
        prediction: the client's predicted output; may be empty.
        outputs: earlier outputs of its scope.
    """

    def __init__(self, prompt: Sequence[int], prediction: Sequence[int], outputs: SuffixCache) -> None:
        self._conversation = NGramIndex()
        self._outputs = outputs
        self._prediction: NGramIndex | None = None
        if prediction:
            self._prediction = NGramIndex()
            self._prediction.extend([*prompt[-MATCH_LENGTH:], *prediction])
        self._num_drafts = self._num_verified = self._num_accepted = 0

    def propose(self, ids: Sequence[int], max_tokens: int) -> Draft:
        """Up to `max_tokens` tokens that may follow `ids`, prompt and output so far."""
        if self._num_drafts >= MIN_DRAFTS_BEFORE_STOP and self._num_accepted < MIN_ACCEPTANCE_RATE * self._num_verified:
            return NO_DRAFT
        if self._prediction is not None:
            draft = self._prediction.lookup(ids)
            if draft.ids:
                return Draft(draft.ids[:max_tokens], FROM_PREDICTION)
        self._conversation.extend(ids[len(self._conversation.ids) :])
        from_conversation, from_outputs = self._conversation.lookup(ids), self._outputs.lookup(ids)
        draft = from_conversation if from_conversation.match >= from_outputs.match else from_outputs
        return Draft(draft.ids[:max_tokens], draft.match)

    def acceptance_rate(self, prior: float) -> float:
        """Estimated probability that the next draft token is correct; `prior` is the rate of all sequences."""
        return (self._num_accepted + SEQUENCE_PRIOR_WEIGHT * prior) / (self._num_verified + SEQUENCE_PRIOR_WEIGHT)

    def record_acceptance(self, accepted: int, verified: int) -> None:
        """Count a draft of which `verified` tokens were compared and `accepted` were correct."""
        self._num_drafts += 1
        self._num_accepted += accepted
        self._num_verified += verified


class DraftProposer:
    """The outputs that drafts are taken from, by scope."""

    def __init__(self) -> None:
        self._by_scope: OrderedDict[str, SuffixCache] = OrderedDict()
        self._num_tokens = 0

    def start_sequence(self, scope: str, prompt: Sequence[int], prediction: Sequence[int]) -> SequenceDraftState:
        """The draft state of a new sequence."""
        return SequenceDraftState(prompt, prediction, self._outputs_of(scope))

    def add_output(self, scope: str, prompt: Sequence[int], output: Sequence[int]) -> None:
        """Remember a finished output. Drops the least recently used scopes above the limit."""
        if not output:
            return
        outputs = self._outputs_of(scope)
        before = outputs.num_tokens
        outputs.add([*prompt[-MATCH_LENGTH:], *output])
        self._num_tokens += outputs.num_tokens - before
        while self._num_tokens > MAX_CACHED_TOKENS and len(self._by_scope) > 1:
            self._drop_scope()

    def _outputs_of(self, scope: str) -> SuffixCache:
        outputs = self._by_scope.setdefault(scope, SuffixCache())
        self._by_scope.move_to_end(scope)
        if len(self._by_scope) > MAX_SCOPES:
            self._drop_scope()
        return outputs

    def _drop_scope(self) -> None:
        """Drop the outputs of the least recently used scope."""
        _, outputs = self._by_scope.popitem(last=False)
        self._num_tokens -= outputs.num_tokens
