"""Drafts for the chats of a scheduler: made where they pay, checked by whoever draws, and learned from."""

from collections.abc import Sequence

from turnwise.engine.sequence import SequenceGroup
from turnwise.engine.speculation.cost_model import CostModel
from turnwise.engine.speculation.draft_proposer import LONGEST, NO_DRAFT, Draft, DraftProposer

VAIN = 16  # passes without a draft that was worth checking
SELDOM = 8  # then every so many passes are looked at


class SpeculativeDecoder:
    """Gives `line.draft` its tokens before a pass, and sees afterwards what became of them."""

    def __init__(self) -> None:
        self.cost = CostModel()
        self._passes = self._vain = 0
        self._drafts = DraftProposer()

    def propose(self, chats: Sequence[SequenceGroup]) -> None:
        """Draft for chats that are about to get their next token, and have one line each.

        Looking takes time too: while nothing comes of it, only now and then.
        """
        self._passes += 1
        if self._vain >= VAIN and self._passes % SELDOM:
            return
        self._vain += 1
        found = []
        for chat in chats:
            chat.line.draft = NO_DRAFT
            most = min(LONGEST, chat.request.max_tokens - chat.num_generated_tokens - 1)
            found.append(self._find(chat, most) if most > 0 else NO_DRAFT)
        if any(draft.ids for draft in found):
            lengths = self.cost.lengths(
                len(chats), [self._judged(chat, draft) for chat, draft in zip(chats, found, strict=True)]
            )
            for chat, draft, length in zip(chats, found, lengths, strict=True):
                if length:
                    self._vain = 0
                    chat.line.draft = Draft(draft.ids[:length], draft.match)

    def saw(self, chat: SequenceGroup) -> None:
        """A pass has checked the chat's draft."""
        draft, accepted = chat.line.draft, chat.line.num_accepted
        if not draft.ids:
            return
        chat.line.draft, chat.line.num_accepted = NO_DRAFT, 0
        checked = min(len(draft.ids), accepted + 1)
        self.cost.saw(draft.match, accepted, checked)
        if chat.draft_state is not None:
            chat.draft_state.saw(accepted, checked)

    def learn(self, chat: SequenceGroup) -> None:
        """A chat has ended; what it has said may be said again."""
        prompt = chat.request.prompt_ids
        self._drafts.learn(chat.request.scope, prompt, chat.line.ids[len(prompt) :])

    def _judged(self, chat: SequenceGroup, draft: Draft) -> tuple[int, float]:
        """A draft's length and how far to trust it: as others of its kind, and soon as the chat's own before."""
        if not draft.ids or chat.draft_state is None:
            return 0, 0.0
        return len(draft.ids), chat.draft_state.acceptance_rate(self.cost.acceptance_rate(draft.match))

    def _find(self, chat: SequenceGroup, most: int) -> Draft:
        if chat.draft_state is None:
            request = chat.request
            chat.draft_state = self._drafts.draft_state(request.scope, request.prompt_ids, request.prediction)
        return chat.draft_state.find(chat.line.ids, most)
