"""Drafts for the chats of a scheduler: made where they pay, checked by whoever draws, and learned from."""

from collections.abc import Sequence

from turnwise.engine.sequence import Chat
from turnwise.engine.speculation.cost_model import Cost
from turnwise.engine.speculation.draft_proposer import LONGEST, NO_DRAFT, Draft, Drafts

VAIN = 16  # passes without a draft that was worth checking
SELDOM = 8  # then every so many passes are looked at


class Drafting:
    """Gives `line.draft` its tokens before a pass, and sees afterwards what became of them."""

    def __init__(self) -> None:
        self.cost = Cost()
        self._passes = self._vain = 0
        self._drafts = Drafts()

    def propose(self, chats: Sequence[Chat]) -> None:
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
            most = min(LONGEST, chat.request.max_tokens - chat.generated - 1)
            found.append(self._find(chat, most) if most > 0 else NO_DRAFT)
        if any(draft.ids for draft in found):
            lengths = self.cost.lengths(
                len(chats), [self._judged(chat, draft) for chat, draft in zip(chats, found, strict=True)]
            )
            for chat, draft, length in zip(chats, found, lengths, strict=True):
                if length:
                    self._vain = 0
                    chat.line.draft = Draft(draft.ids[:length], draft.match)

    def saw(self, chat: Chat) -> None:
        """A pass has checked the chat's draft."""
        draft, accepted = chat.line.draft, chat.line.foreseen
        if not draft.ids:
            return
        chat.line.draft, chat.line.foreseen = NO_DRAFT, 0
        checked = min(len(draft.ids), accepted + 1)
        self.cost.saw(draft.match, accepted, checked)
        if chat.foresight is not None:
            chat.foresight.saw(accepted, checked)

    def learn(self, chat: Chat) -> None:
        """A chat has ended; what it has said may be said again."""
        prompt = chat.request.prompt_ids
        self._drafts.learn(chat.request.scope, prompt, chat.line.ids[len(prompt) :])

    def _judged(self, chat: Chat, draft: Draft) -> tuple[int, float]:
        """A draft's length and how far to trust it: as others of its kind, and soon as the chat's own before."""
        if not draft.ids or chat.foresight is None:
            return 0, 0.0
        return len(draft.ids), chat.foresight.trust(self.cost.trust(draft.match))

    def _find(self, chat: Chat, most: int) -> Draft:
        if chat.foresight is None:
            request = chat.request
            chat.foresight = self._drafts.foresight(request.scope, request.prompt_ids, request.prediction)
        return chat.foresight.find(chat.line.ids, most)
