"""Speculative decoding that is switched off by its first exception: answers are the same without it."""

import logging
from collections.abc import Sequence

from turnwise.engine.sequence import SequenceGroup
from turnwise.engine.speculation.draft_proposer import NO_DRAFT
from turnwise.engine.speculation.speculative_decoder import SpeculativeDecoder

log = logging.getLogger(__name__)


class FaultTolerantDecoder:
    """Calls a `SpeculativeDecoder` while it works.

    Handlers catch BaseException for the reason that `Scheduler` gives.

    Attributes:
        decoder: what may fail.
        is_enabled: false from the start, or after the first exception.
    """

    def __init__(self, *, is_enabled: bool) -> None:
        self.decoder, self.is_enabled = SpeculativeDecoder(), is_enabled

    def propose(self, running: Sequence[SequenceGroup]) -> None:
        """Set the drafts of the groups that decode and may have one."""
        if not self.is_enabled:
            return
        try:
            self.decoder.propose([group for group in running if group.can_draft and not group.is_prefilling])
        except BaseException:
            self._disable()
            for group in running:
                group.sequence.draft = NO_DRAFT

    def record_result(self, group: SequenceGroup) -> None:
        """Record how many draft tokens were correct, then remove the draft."""
        try:
            self.decoder.record_result(group)
        except BaseException:
            self._disable()
        group.sequence.draft, group.sequence.num_accepted = NO_DRAFT, 0

    def add_output(self, group: SequenceGroup) -> None:
        """Keep the output of a finished group for later drafts."""
        if not self.is_enabled:
            return
        try:
            self.decoder.add_output(group)
        except BaseException:
            self._disable()

    def _disable(self) -> None:
        log.exception("speculative decoding failed and is off from now on; answers are the same, but slower")
        self.is_enabled = False
