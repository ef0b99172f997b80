"""Builds a cycle from settings: the checks of feedback, the masking of personal data, and what it may use."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core import own_session
from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.core.messages import Conversation
from turnwise.evaluation.gate.rules_file import GateRules
from turnwise.improve.cycle import ImproveCycle
from turnwise.improve.cycle_folder import CycleFolders
from turnwise.improve.progress import CycleProgress
from turnwise.improve.selection import Mask
from turnwise.improve.settings import ImproveSettings, LimitSettings
from turnwise.privacy.masking import ConversationMasker
from turnwise.training.stop_signals import capture_stop_signals


@contextmanager
def open_cycle(
    model: str,
    library: VersionLibrary,
    reader: CollectedAnswerReader,
    rules: GateRules,
    settings: ImproveSettings,
    progress: CycleProgress,
) -> Iterator[ImproveCycle]:
    """Yield a cycle that stops at a stop signal, and keeps to its share of the machine.

    Args:
        model: served model name.
        library: versions of models.
        reader: collected answers.
        rules: rules of the gate.
        settings: settings.
        progress: receives the progress.

    Raises:
        UserError: personal data are to be masked, and a library for it is missing.
    """
    mask = open_mask(settings.public_texts) if settings.masks_personal_data else None
    apply_limits(settings.limits)
    with capture_stop_signals() as stop_signal:
        yield ImproveCycle(
            model, library, reader, rules, settings, CycleFolders(model), mask, progress,
            lambda: bool(stop_signal()),
        )  # fmt: skip


def open_mask(public: Collection[str] = ()) -> Mask:
    """The function that masks personal data with all detectors, except `public` texts.

    Raises:
        UserError: a library is missing.
    """
    masker = ConversationMasker(public=public)

    def mask(conversation: Conversation) -> tuple[Conversation, Counter[str]]:
        masked = masker.mask(conversation)
        return masked.conversation, masked.counts

    return mask


def apply_limits(limits: LimitSettings) -> None:
    """Lower the priority of this process, and set the number of its threads."""
    import torch

    own_session.raise_niceness(limits.niceness)
    torch.set_num_threads(limits.threads or max(1, (os.cpu_count() or 2) // 2))
