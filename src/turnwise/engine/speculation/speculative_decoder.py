"""Proposes drafts for the sequences of a scheduler where they save time, and learns from the results."""

from collections.abc import Sequence

from turnwise.engine.sequence import SequenceGroup
from turnwise.engine.speculation.cost_model import CostModel
from turnwise.engine.speculation.draft_proposer import MAX_DRAFT_TOKENS, NO_DRAFT, Draft, DraftProposer

IDLE_STEPS = 16  # steps without a useful draft after which proposing is rare
IDLE_INTERVAL = 8  # then drafts are looked up at every such step


class SpeculativeDecoder:
    """Sets `sequence.draft` before a forward pass and records afterwards how much of it was correct."""

    def __init__(self) -> None:
        self.cost = CostModel()
        self._num_steps = self._num_idle_steps = 0
        self._proposer = DraftProposer()

    def propose(self, groups: Sequence[SequenceGroup]) -> None:
        """Set the drafts of groups that are about to decode; each has one sequence.

        Looking up drafts takes time, so while none is useful it is done only every `IDLE_INTERVAL` steps.
        """
        self._num_steps += 1
        if self._num_idle_steps >= IDLE_STEPS and self._num_steps % IDLE_INTERVAL:
            return
        self._num_idle_steps += 1
        drafts = []
        for group in groups:
            group.sequence.draft = NO_DRAFT
            max_tokens = min(MAX_DRAFT_TOKENS, group.request.max_tokens - group.num_generated_tokens - 1)
            drafts.append(self._lookup(group, max_tokens) if max_tokens > 0 else NO_DRAFT)
        if any(draft.ids for draft in drafts):
            estimates = [self._estimate(group, draft) for group, draft in zip(groups, drafts, strict=True)]
            lengths = self.cost.draft_lengths(len(groups), estimates)
            for group, draft, length in zip(groups, drafts, lengths, strict=True):
                if length:
                    self._num_idle_steps = 0
                    group.sequence.draft = Draft(draft.ids[:length], draft.match)

    def record_result(self, group: SequenceGroup) -> None:
        """Record the outcome of the group's draft after a forward pass."""
        draft, accepted = group.sequence.draft, group.sequence.num_accepted
        if not draft.ids:
            return
        verified = min(len(draft.ids), accepted + 1)  # tokens after the first wrong one are not compared
        self.cost.record_acceptance(draft.match, accepted, verified)
        if group.draft_state is not None:
            group.draft_state.record_acceptance(accepted, verified)

    def add_output(self, group: SequenceGroup) -> None:
        """Make a finished group's output available for later drafts."""
        prompt = group.request.prompt_ids
        self._proposer.add_output(group.request.scope, prompt, group.sequence.ids[len(prompt) :])

    def _estimate(self, group: SequenceGroup, draft: Draft) -> tuple[int, float]:
        """Length of a draft and the acceptance rate of its tokens, by match length and by this sequence's results."""
        if not draft.ids or group.draft_state is None:
            return 0, 0.0
        return len(draft.ids), group.draft_state.acceptance_rate(self.cost.acceptance_rate(draft.match))

    def _lookup(self, group: SequenceGroup, max_tokens: int) -> Draft:
        if group.draft_state is None:
            request = group.request
            group.draft_state = self._proposer.start_sequence(request.scope, request.prompt_ids, request.prediction)
        return group.draft_state.propose(group.sequence.ids, max_tokens)
