"""Builds a cycle from settings, and limits what it may use of the machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core import own_session
from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.evaluation.gate.rules_file import GateRules
from turnwise.improve.cycle import ImproveCycle
from turnwise.improve.cycle_folder import CycleFolders
from turnwise.improve.masking import open_mask
from turnwise.improve.progress import CycleProgress
from turnwise.improve.settings import ImproveSettings, LimitSettings
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
    mask = open_mask(settings)
    apply_limits(settings.limits)
    with capture_stop_signals() as stop_signal:
        yield ImproveCycle(
            model, library, reader, rules, settings, CycleFolders(model), mask, progress,
            lambda: bool(stop_signal()),
        )  # fmt: skip


def apply_limits(limits: LimitSettings) -> None:
    """Lower the priority of this process, and set the number of its threads."""
    import torch

    own_session.raise_niceness(limits.niceness)
    torch.set_num_threads(limits.threads or max(1, (os.cpu_count() or 2) // 2))
