"""Tokens that perhaps come next, foreseen without a second model: what followed the last words before.

A chat's last tokens are looked up in what the client predicts, in the conversation itself and in earlier answers of its
scope (Saxena 2023, prompt lookup; Oliaro et al. 2024, suffix decoding). The longer the match, the more a draft is
trusted. `decoders/sample.py` checks drafts, so they change nothing but the time it takes; whether they are worth that
is for `cost.py` to say.

Earlier answers serve their own scope only: how soon an answer comes would otherwise tell what others were told.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import NamedTuple

KEY = 3  # tokens that have to match
LONGEST_MATCH = 32
FROM_PREDICTION = LONGEST_MATCH + 1
LONGEST = 16  # tokens of a draft
SCOPES = 256  # of which earlier answers are kept
MAX_TOKENS_PER_SCOPE = 16_384  # tokens of earlier answers in each
MAX_CACHED_TOKENS = 65_536  # in all of them; each takes some 250 bytes, so 16 MB
SEQUENCE_PRIOR_WEIGHT = 3.0  # tokens of a chat's drafts that weigh as much as all that is known of others
MIN_DRAFTS_BEFORE_STOP = 8  # drafts after which a chat that rejects nearly all is left in peace
MIN_ACCEPTANCE_RATE = 0.15

Key = tuple[int, ...]


class Draft(NamedTuple):
    """Tokens, and how many before them were the same where they come from: `PREDICTED` where the client says them."""

    ids: Sequence[int]
    match: int

    @property
    def predicted(self) -> bool:
        """Whether they are from the request's own prediction."""
        return self.match == FROM_PREDICTION


NO_DRAFT = Draft((), 0)


class NGramIndex:
    """Where in a growing sequence of tokens each few in a row came up last."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._after: dict[Key, int] = {}  # the last KEY tokens → where the next one lies

    def extend(self, ids: Sequence[int]) -> None:
        """More tokens at the end; what follows them is not known yet."""
        start = max(len(self.ids), KEY)
        self.ids.extend(ids)
        for end in range(start, len(self.ids)):
            self._after[tuple(self.ids[end - KEY : end])] = end

    def find(self, ids: Sequence[int]) -> Draft:
        """What followed the longest of the latest matches with the end of `ids`."""
        at = self._after.get(tuple(ids[-KEY:]))
        if at is None:
            return NO_DRAFT
        match = KEY
        most = min(LONGEST_MATCH, at, len(ids))
        while match < most and self.ids[at - match - 1] == ids[-match - 1]:
            match += 1
        return Draft(self.ids[at : at + LONGEST], match)


class SuffixCache:
    """Earlier answers of one scope, the latest of them."""

    def __init__(self) -> None:
        self._kept: deque[NGramIndex] = deque()
        self.tokens = 0
        self._holding: dict[Key, NGramIndex] = {}

    def learn(self, ids: Sequence[int]) -> None:
        """One more answer, with a little of what came before it."""
        index = NGramIndex()
        index.extend(ids)
        self._kept.append(index)
        self.tokens += len(ids)
        for end in range(KEY, len(ids)):
            self._holding[tuple(ids[end - KEY : end])] = index
        while self.tokens > MAX_TOKENS_PER_SCOPE:
            self._forget(self._kept.popleft())

    def find(self, ids: Sequence[int]) -> Draft:
        """What followed the end of `ids` in the latest answer that holds it."""
        index = self._holding.get(tuple(ids[-KEY:]))
        return NO_DRAFT if index is None else index.find(ids)

    def _forget(self, index: NGramIndex) -> None:
        self.tokens -= len(index.ids)
        for end in range(KEY, len(index.ids)):
            key = tuple(index.ids[end - KEY : end])
            if self._holding.get(key) is index:
                del self._holding[key]


class SequenceDraftState:
    """The drafts of one chat.

    Args:
        prompt: what its answer goes on from.
        prediction: what the client thinks that it says.
        answers: earlier ones of its scope.
    """

    def __init__(self, prompt: Sequence[int], prediction: Sequence[int], answers: SuffixCache) -> None:
        self._talk = NGramIndex()
        self._answers = answers
        self._prediction: NGramIndex | None = None
        if prediction:
            self._prediction = NGramIndex()
            self._prediction.extend([*prompt[-KEY:], *prediction])
        self._drafts = self._checked = self._accepted = 0

    def find(self, ids: Sequence[int], most: int) -> Draft:
        """Up to `most` tokens that perhaps follow `ids`, prompt and answer so far."""
        if self._drafts >= MIN_DRAFTS_BEFORE_STOP and self._accepted < MIN_ACCEPTANCE_RATE * self._checked:
            return NO_DRAFT
        if self._prediction is not None:
            found = self._prediction.find(ids)
            if found.ids:
                return Draft(found.ids[:most], FROM_PREDICTION)
        self._talk.extend(ids[len(self._talk.ids) :])
        talk, earlier = self._talk.find(ids), self._answers.find(ids)
        found = talk if talk.match >= earlier.match else earlier
        return Draft(found.ids[:most], found.match)

    def acceptance_rate(self, usual: float) -> float:
        """How likely a draft's next token is right, if it is `usual` for such drafts in other chats."""
        return (self._accepted + SEQUENCE_PRIOR_WEIGHT * usual) / (self._checked + SEQUENCE_PRIOR_WEIGHT)

    def saw(self, accepted: int, checked: int) -> None:
        """How many of a draft's tokens were checked, and how many were right."""
        self._drafts += 1
        self._accepted += accepted
        self._checked += checked


class DraftProposer:
    """What drafts are made from, for all scopes."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, SuffixCache] = OrderedDict()
        self._tokens = 0

    def draft_state(self, scope: str, prompt: Sequence[int], prediction: Sequence[int]) -> SequenceDraftState:
        """For a chat that begins."""
        return SequenceDraftState(prompt, prediction, self._of(scope))

    def learn(self, scope: str, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """An answer that has ended."""
        if not answer:
            return
        answers = self._of(scope)
        before = answers.tokens
        answers.learn([*prompt[-KEY:], *answer])
        self._tokens += answers.tokens - before
        while self._tokens > MAX_CACHED_TOKENS and len(self._answers) > 1:
            self._forget()

    def _of(self, scope: str) -> SuffixCache:
        answers = self._answers.setdefault(scope, SuffixCache())
        self._answers.move_to_end(scope)
        if len(self._answers) > SCOPES:
            self._forget()
        return answers

    def _forget(self) -> None:
        """Let go of the scope that was used least recently."""
        _, answers = self._answers.popitem(last=False)
        self._tokens -= answers.tokens
