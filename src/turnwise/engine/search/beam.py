"""Beam search (Lowerre 1976; as in Sutskever et al. 2014): keeps and extends the `num_beams` most likely hypotheses.

The score of a hypothesis is the sum of its tokens' log-probabilities, log p(y|x) = Σ log p(yₜ|x, y₁…yₜ₋₁), after the
request's logits processors. A finished hypothesis is ranked by score / lengthᵅ, with α = `length_penalty` (Wu et al.
2016, without their coverage penalty). It is kept if it was among the `num_beams` most likely continuations when it
ended. The search ends when no beam can overtake the worst finished hypothesis: at their present length, or with
`early_stopping` "never" at the length at which they would rank best. With true it ends once `num_beams` hypotheses are
finished. These are the rules of transformers' `generate`, so the results are equal, token by token.

Diverse beam search (Vijayakumar et al. 2018): `num_beam_groups` groups search one after the other with an equal share
of the beams, and a token costs `diversity_penalty` for every beam of an earlier group that has just chosen it.

Shapes: L beams (of all groups, or of one), V vocabulary.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import torch
from torch import Tensor

from turnwise.core.errors import TurnwiseError, UserError
from turnwise.core.inference import (
    ErrorEvent,
    FinishEvent,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    SearchTraceEvent,
    TokenEvent,
    TokenLogprobs,
)
from turnwise.engine.generation_errors import NonFiniteLogits, NoTokenAllowed
from turnwise.engine.sampling.prompt_outputs import compute_logprobs
from turnwise.engine.sampling.sampler import SequenceLogitsState
from turnwise.engine.search._beam_trace import ROOT, BeamTrace

OutputLogprobs = tuple[TokenLogprobs | None, ...]


@dataclass(frozen=True, slots=True)
class BeamHypothesis:
    """A hypothesis that the search extends; `parent` is its index in the previous forward pass."""

    ids: tuple[int, ...]
    score: float
    logits_state: SequenceLogitsState
    logprobs: OutputLogprobs = ()
    parent: int = 0
    node: int = ROOT  # in the trace, if there is one


@dataclass(frozen=True, slots=True)
class FinishedHypothesis:
    """A complete answer. If it ended at a stop id, that id is not part of `ids`."""

    ids: tuple[int, ...]
    rank: float
    finish_reason: FinishReason
    logprobs: OutputLogprobs
    at_stop_id: bool
    node: int = ROOT


@dataclass(slots=True)
class BeamGroup:
    """The beams of one group and its best finished hypotheses, best first."""

    beams: list[BeamHypothesis]
    number: int = 0
    finished: list[FinishedHypothesis] = field(default_factory=list)
    is_done: bool = False


class BeamSearch:
    """Beam search for one request (implements `search.Search`)."""

    needs_hidden_states = needs_prompt_outputs = False

    def __init__(self, request: GenerationRequest) -> None:
        params = request.params
        self._request, self._params = request, params
        self.max_sequences = params.num_beams
        self._group_size = params.num_beams // params.num_beam_groups
        self._num_stop_ids = len(request.stop_ids)
        self._groups = [
            BeamGroup([BeamHypothesis((), 0.0, SequenceLogitsState(request))], number)
            for number in range(params.num_beam_groups)
        ]
        self._trace = BeamTrace() if request.trace_search else None
        self._num_emitted = 0  # tokens that have been returned because all possible answers start with them
        self._is_started = False

    @property
    def hypotheses(self) -> list[BeamHypothesis]:
        """All beams, group by group."""
        return [beam for group in self._groups if not group.is_done for beam in group.beams]

    @property
    def is_done(self) -> bool:
        """True once the events of all answers have been returned."""
        return all(group.is_done for group in self._groups)

    def restart(self) -> None:
        """Nothing to do: no state depends on the prompt's outputs."""

    def observe_prompt(self, logits_RV: Tensor, /) -> None:
        """Not called, because `needs_prompt_outputs` is False."""

    @torch.inference_mode()
    def advance(self, logits_LV: Tensor, _logits_of: object = None, /) -> list[GenerationEvent]:
        """Extend all beams by one token; see `search.Search.advance`."""
        if not bool(logits_LV.isfinite().all()):
            return self._fail(NonFiniteLogits())
        try:
            self._advance_groups(logits_LV.float().log_softmax(dim=1))
        except UserError as error:
            return self._fail(error)
        if not self.is_done:
            return self._certain_events()
        answers = self._best_answers()
        if not answers:
            return self._fail(NoTokenAllowed())
        requested = self._request.num_return_sequences
        if len(answers) < requested:
            noun = "answer" if len(answers) == 1 else "answers"
            return self._fail(UserError(f"'n' is {requested}, but the search found only {len(answers)} {noun}."))
        events: list[GenerationEvent] = []
        if self._trace is not None:
            events.append(SearchTraceEvent(self._trace.build([answer.node for answer in answers])))
        events += [event for index, answer in enumerate(answers) for event in self._remaining_events(index, answer)]
        return events

    def _advance_groups(self, logprobs_LV: Tensor) -> None:
        chosen: Counter[int] = Counter()  # last tokens of the groups before
        first_row = 0
        for group in self._groups:
            if group.is_done:
                continue
            rows = [first_row + number for number in range(len(group.beams))]
            if self._is_started:  # the first pass has one row, the prompt, for all groups
                first_row += len(rows)
            self._advance_group(group, logprobs_LV[rows], rows[0], chosen)
            chosen.update(beam.ids[-1] for beam in group.beams)
        self._is_started = True

    def _advance_group(self, group: BeamGroup, scores_LV: Tensor, first_row: int, chosen: Counter[int]) -> None:
        """Extend the beams of one group; `first_row` is the row of its first beam in the forward pass."""
        for token_id, count in chosen.items():
            scores_LV[:, token_id] -= self._params.diversity_penalty * count
        for beam, scores_V in zip(group.beams, scores_LV, strict=True):
            if not beam.logits_state.is_empty:
                beam.logits_state.apply(scores_V)
        sums_LV = scores_LV + torch.tensor([beam.score for beam in group.beams]).to(scores_LV).unsqueeze(1)
        # Each stop id may end every beam, and as many beams again have to continue.
        num_candidates = min(max(2, 1 + self._num_stop_ids) * self._group_size, sums_LV.numel())
        sums, flat_indexes = sums_LV.flatten().topk(num_candidates)
        parents, group.beams = group.beams, []
        for position, (score, flat_index) in enumerate(zip(sums.tolist(), flat_indexes.tolist(), strict=True)):
            if score == -torch.inf or (position >= self._group_size and len(group.beams) == self._group_size):
                break
            row, token_id = divmod(flat_index, sums_LV.shape[1])
            is_top = position < self._group_size
            self._extend(group, parents[row], first_row + row, token_id, score, scores_LV[row], is_top)
        group.finished = sorted(group.finished, key=lambda finished: -finished.rank)[: self._group_size]
        group.is_done = self._is_group_done(group)

    def _extend(
        self,
        group: BeamGroup,
        parent: BeamHypothesis,
        row: int,
        token_id: int,
        score: float,
        scores_V: Tensor,
        is_top: bool,
    ) -> None:
        """Extend a beam by one candidate token: add a new beam, or a finished hypothesis if the candidate `is_top`."""
        rank = score / (len(parent.ids) + 1) ** self._params.length_penalty
        if token_id in self._request.stop_ids:
            if is_top:
                node = self._record(group, parent, token_id, score, is_finished=True)
                group.finished.append(
                    FinishedHypothesis(parent.ids, rank, "stop", parent.logprobs, at_stop_id=True, node=node)
                )
            return
        logits_state = parent.logits_state
        if not logits_state.is_empty:
            logits_state = logits_state.fork()
            logits_state.accept(token_id)
        logprobs: OutputLogprobs = ()
        if self._params.logprobs:
            top = [self._params.top_logprobs]
            logprobs = (*parent.logprobs, *compute_logprobs(scores_V.unsqueeze(0), [token_id], top))
        ids = (*parent.ids, token_id)
        if logits_state.is_complete or len(ids) >= self._request.max_tokens:
            if is_top:
                finish_reason: FinishReason = "stop" if logits_state.is_complete else "length"
                node = self._record(group, parent, token_id, score, is_finished=True)
                group.finished.append(
                    FinishedHypothesis(ids, rank, finish_reason, logprobs, at_stop_id=False, node=node)
                )
        elif len(group.beams) < self._group_size:
            node = self._record(group, parent, token_id, score, is_finished=False)
            group.beams.append(BeamHypothesis(ids, score, logits_state, logprobs, row, node))

    def _record(
        self, group: BeamGroup, parent: BeamHypothesis, token_id: int, score: float, *, is_finished: bool
    ) -> int:
        """Add a hypothesis to the trace, if there is one. Returns the index of its node."""
        if self._trace is None:
            return ROOT
        logprob = score - parent.score
        step = len(parent.ids) + 1
        return self._trace.add(parent.node, token_id, logprob, score, step, group.number, is_finished=is_finished)

    def _is_group_done(self, group: BeamGroup) -> bool:
        if not group.beams:
            return True
        if len(group.finished) < self._group_size:
            return False
        if self._params.early_stopping is True:
            return True
        best = group.beams[0]
        # A positive length penalty favours long answers: the best possible rank is at the maximum length.
        at_max_length = self._params.early_stopping == "never" and self._params.length_penalty > 0
        length = self._request.max_tokens if at_max_length else len(best.ids)
        return bool(best.score / length**self._params.length_penalty <= group.finished[-1].rank)

    def _best_answers(self) -> list[FinishedHypothesis]:
        """The answers to return: the best of every group, then the second best of every group, and so on."""
        ranked = [
            finished
            for same_rank in zip_longest(*(group.finished for group in self._groups))
            for finished in sorted(
                (finished for finished in same_rank if finished is not None), key=lambda finished: -finished.rank
            )
        ]
        return ranked[: self._request.num_return_sequences]

    def _certain_events(self) -> list[GenerationEvent]:
        """Events for the tokens that all hypotheses which may still be returned have in common."""
        if len(self._groups) == 1:
            finished = self._best_answers()
        else:
            finished = [hypothesis for group in self._groups for hypothesis in group.finished]
        possible: list[BeamHypothesis | FinishedHypothesis] = [*self.hypotheses, *finished]
        events: list[GenerationEvent] = []
        shortest = min(len(hypothesis.ids) for hypothesis in possible)
        while self._num_emitted < shortest and len({hypothesis.ids[self._num_emitted] for hypothesis in possible}) == 1:
            events += [
                self._event(possible[0], self._num_emitted, index)
                for index in range(self._request.num_return_sequences)
            ]
            self._num_emitted += 1
        return events

    def _remaining_events(self, index: int, answer: FinishedHypothesis) -> Iterator[GenerationEvent]:
        """Events of an answer that have not been returned yet."""
        last = len(answer.ids) - 1
        for position in range(self._num_emitted, len(answer.ids)):
            is_end = position == last and not answer.at_stop_id
            yield self._event(answer, position, index, answer.finish_reason if is_end else None)
        if answer.at_stop_id:
            yield FinishEvent(answer.finish_reason, index=index)

    def _event(
        self,
        hypothesis: BeamHypothesis | FinishedHypothesis,
        position: int,
        index: int,
        finish_reason: FinishReason | None = None,
    ) -> TokenEvent:
        logprobs = hypothesis.logprobs[position] if hypothesis.logprobs else None
        return TokenEvent(hypothesis.ids[position], finish_reason, logprobs=logprobs, index=index)

    def _fail(self, error: TurnwiseError) -> list[GenerationEvent]:
        for group in self._groups:
            group.is_done = True
        return [ErrorEvent(error)]


def start(request: GenerationRequest) -> BeamSearch | None:
    """None if the request has a single beam."""
    return BeamSearch(request) if request.params.num_beams > 1 else None
