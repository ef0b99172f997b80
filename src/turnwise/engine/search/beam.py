"""Beam search (Lowerre 1976; as in Sutskever et al. 2014): keep the `num_beams` likeliest lines, extend them all.

A line's score is the sum of its tokens' log-probabilities, log p(y|x) = Σ log p(yₜ|x, y₁…yₜ₋₁), with the request's
processors applied to them. An answer that is whole is ranked by score / lengthᵅ, α being `length_penalty` (Wu et al.
2016, without their coverage). It is kept if it was among the `num_beams` likeliest continuations when it ended. The
search ends when none of the beams could still overtake the worst answer kept: by their present length, or with
`early_stopping` "never" by the length at which they would rank best. With true it ends as soon as `num_beams` answers
are whole. These are the rules of transformers' `generate`, so results are the same, token by token.

Groups (Vijayakumar et al. 2018): each of `num_beam_groups` searches with its share of the beams, one after the other,
and a token costs `diversity_penalty` for every beam of an earlier group that has just chosen it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import torch
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.core.ports import FinishReason, GenerationRequest, TokenEvent, TokenLogprobs
from turnwise.engine.sampling.prompt_outputs import compute_logprobs
from turnwise.engine.sampling.sampler import NO_TOKEN_ALLOWED, NON_FINITE_LOGITS, LogitsProcessors

Reports = tuple[TokenLogprobs | None, ...]


@dataclass(frozen=True, slots=True)
class BeamHypothesis:
    """An answer that is searched on from. `parent` is the number of the line it extends, in the pass before."""

    ids: tuple[int, ...]
    score: float
    logits_processors: LogitsProcessors
    reports: Reports = ()
    parent: int = 0


@dataclass(frozen=True, slots=True)
class FinishedHypothesis:
    """An answer that has ended: at a stop id, which is not part of it, or with its last token."""

    ids: tuple[int, ...]
    rank: float
    finish: FinishReason
    reports: Reports
    at_stop_id: bool


@dataclass(slots=True)
class BeamGroup:
    """A search of its own: its beams and the best answers that are whole, the likeliest first."""

    beams: list[BeamHypothesis]
    whole: list[FinishedHypothesis] = field(default_factory=list)
    done: bool = False


class BeamSearch:
    """The search for one request's answers (the `decoders.Search` protocol)."""

    hidden = needs_prompt_outputs = False

    def __init__(self, request: GenerationRequest) -> None:
        params = request.params
        self._request, self._params = request, params
        self.width = params.num_beams
        self._share = params.num_beams // params.num_beam_groups
        self._stops = len(request.stop_ids)
        self._groups = [
            BeamGroup([BeamHypothesis((), 0.0, LogitsProcessors(request))]) for _ in range(params.num_beam_groups)
        ]
        self._told = 0
        self._begun = False

    @property
    def hypotheses(self) -> list[BeamHypothesis]:
        """The lines that go on, group by group."""
        return [beam for group in self._groups if not group.done for beam in group.beams]

    @property
    def done(self) -> bool:
        """Whether all answers have been told."""
        return all(group.done for group in self._groups)

    def begin(self) -> None:
        """Nothing to forget."""

    def saw(self, logits_RV: Tensor, /) -> None:
        """The prompt's own logits are nothing to it."""

    @torch.inference_mode()
    def advance(self, logits_LV: Tensor, _logits_of: object = None, /) -> list[TokenEvent]:
        """Bring all lines one token further; what is certain by now, and at the end the answers.

        Args:
            logits_LV: after each of the `branches`; L lines, V vocabulary.
        """
        if not bool(logits_LV.isfinite().all()):
            return self._failed(NON_FINITE_LOGITS, is_client_error=False)
        try:
            self._advance_groups(logits_LV.float().log_softmax(dim=1))
        except UserError as error:
            return self._failed(str(error), is_client_error=True)
        if not self.done:
            return self._certain()
        answers = self._ranked()
        if not answers:
            return self._failed(NO_TOKEN_ALLOWED, is_client_error=True)
        if len(answers) < self._request.num_return_sequences:
            asked = self._request.num_return_sequences
            return self._failed(
                f"'n' asks for {asked} answers, but there are only {len(answers)}.", is_client_error=True
            )
        return [event for index, answer in enumerate(answers) for event in self._rest(index, answer)]

    def _advance_groups(self, logprobs_LV: Tensor) -> None:
        chosen: Counter[int] = Counter()
        line = 0
        for group in self._groups:
            if group.done:
                continue
            lines = [line + number for number in range(len(group.beams))]
            if self._begun:
                line += len(lines)
            self._advance(group, logprobs_LV[lines], lines[0], chosen)
            chosen.update(beam.ids[-1] for beam in group.beams)
        self._begun = True

    def _advance(self, group: BeamGroup, scores_LV: Tensor, line: int, chosen: Counter[int]) -> None:
        """Bring a group one token further; `line` is the number of its first."""
        for token, times in chosen.items():
            scores_LV[:, token] -= self._params.diversity_penalty * times
        for beam, scores_V in zip(group.beams, scores_LV, strict=True):
            if not beam.logits_processors.idle:
                beam.logits_processors.apply(scores_V)
        sums_LV = scores_LV + torch.tensor([beam.score for beam in group.beams]).to(scores_LV).unsqueeze(1)
        # Each stop id may end every beam, and as many again are to go on.
        most = min(max(2, 1 + self._stops) * self._share, sums_LV.numel())
        sums, places = sums_LV.flatten().topk(most)
        parents, group.beams = group.beams, []
        for place, (score, at) in enumerate(zip(sums.tolist(), places.tolist(), strict=True)):
            if score == -torch.inf or (place >= self._share and len(group.beams) == self._share):
                break
            number, token = divmod(at, sums_LV.shape[1])
            self._extend(group, parents[number], line + number, token, score, scores_LV[number], place < self._share)
        group.whole = sorted(group.whole, key=lambda whole: -whole.rank)[: self._share]
        group.done = self._is_done(group)

    def _extend(
        self,
        group: BeamGroup,
        parent: BeamHypothesis,
        line: int,
        token: int,
        score: float,
        scores_V: Tensor,
        in_front: bool,
    ) -> None:
        """A beam and one of the likeliest tokens after it: a new beam, or an answer that is whole."""
        rank = score / (len(parent.ids) + 1) ** self._params.length_penalty
        if token in self._request.stop_ids:
            if in_front:
                group.whole.append(FinishedHypothesis(parent.ids, rank, "stop", parent.reports, at_stop_id=True))
            return
        logits_processors = parent.logits_processors
        if not logits_processors.idle:
            logits_processors = logits_processors.fork()
            logits_processors.accept(token)
        reports: Reports = ()
        if self._params.logprobs:
            reports = (*parent.reports, *compute_logprobs(scores_V.unsqueeze(0), [token], [self._params.top_logprobs]))
        ids = (*parent.ids, token)
        if logits_processors.is_complete or len(ids) >= self._request.max_tokens:
            if in_front:
                finish: FinishReason = "stop" if logits_processors.is_complete else "length"
                group.whole.append(FinishedHypothesis(ids, rank, finish, reports, at_stop_id=False))
        elif len(group.beams) < self._share:
            group.beams.append(BeamHypothesis(ids, score, logits_processors, reports, line))

    def _is_done(self, group: BeamGroup) -> bool:
        if not group.beams:
            return True
        if len(group.whole) < self._share:
            return False
        if self._params.early_stopping is True:
            return True
        best = group.beams[0]
        longest = self._params.early_stopping == "never" and self._params.length_penalty > 0
        length = self._request.max_tokens if longest else len(best.ids)
        return bool(best.score / length**self._params.length_penalty <= group.whole[-1].rank)

    def _ranked(self) -> list[FinishedHypothesis]:
        """The answers asked for: the best of every group, then the second best, and so on."""
        in_turn = zip_longest(*(group.whole for group in self._groups))
        ranked = [
            whole
            for places in in_turn
            for whole in sorted((one for one in places if one is not None), key=lambda whole: -whole.rank)
        ]
        return ranked[: self._request.num_return_sequences]

    def _certain(self) -> list[TokenEvent]:
        """Tokens that every answer which may still be given begins with."""
        whole = self._ranked() if len(self._groups) == 1 else [one for group in self._groups for one in group.whole]
        possible: list[BeamHypothesis | FinishedHypothesis] = [*self.hypotheses, *whole]
        events = []
        shortest = min(len(one.ids) for one in possible)
        while self._told < shortest and len({one.ids[self._told] for one in possible}) == 1:
            events += [
                self._event(possible[0], self._told, index) for index in range(self._request.num_return_sequences)
            ]
            self._told += 1
        return events

    def _rest(self, index: int, whole: FinishedHypothesis) -> Iterator[TokenEvent]:
        """What has not been told of an answer."""
        last = len(whole.ids) - 1
        for place in range(self._told, len(whole.ids)):
            ends = place == last and not whole.at_stop_id
            yield self._event(whole, place, index, whole.finish if ends else None)
        if whole.at_stop_id:
            yield TokenEvent(None, whole.finish, index=index)

    def _event(
        self, of: BeamHypothesis | FinishedHypothesis, place: int, index: int, finish: FinishReason | None = None
    ) -> TokenEvent:
        report = of.reports[place] if of.reports else None
        return TokenEvent(of.ids[place], finish, logprobs=report, index=index)

    def _failed(self, error: str, *, is_client_error: bool) -> list[TokenEvent]:
        for group in self._groups:
            group.done = True
        return [TokenEvent(None, "error", error, is_client_error=is_client_error)]


def start(request: GenerationRequest) -> BeamSearch | None:
    """None with a single beam."""
    return BeamSearch(request) if request.params.num_beams > 1 else None
