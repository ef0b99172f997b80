"""Masks personal data in the answers that are learned from."""

from collections import Counter
from collections.abc import Callable

from turnwise.core.messages import Conversation
from turnwise.improve.settings import ImproveSettings
from turnwise.privacy.masking import ConversationMasker

Mask = Callable[[Conversation], tuple[Conversation, Counter[str]]]
"""Replaces personal data in a dialogue; also returns the number of different values by kind."""


def open_mask(settings: ImproveSettings) -> Mask | None:
    """The function that masks personal data with all detectors, except public texts; None: nothing is masked.

    Raises:
        UserError: a library is missing.
    """
    if not settings.masks_personal_data:
        return None
    masker = ConversationMasker(public=settings.public_texts)

    def mask(conversation: Conversation) -> tuple[Conversation, Counter[str]]:
        masked = masker.mask(conversation)
        return masked.conversation, masked.counts

    return mask
