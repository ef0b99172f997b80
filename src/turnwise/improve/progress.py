"""What a cycle reports while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from turnwise.training.hooks import TrainerHook
from turnwise.training.stop_signals import TrainingInterrupted


class CycleProgress(Protocol):
    """Receives the progress of a cycle. The default methods do nothing."""

    def on_step(self, step: str, description: str) -> None:
        """A step starts."""

    def on_count(self, what: str, done: int, total: int) -> None:
        """So many of `what` are done."""

    def trainer_hooks(self, stage: str) -> list[TrainerHook]:
        """Hooks that receive the events of the training of one stage."""


class SilentProgress:
    """Reports nothing."""

    def on_step(self, step: str, description: str) -> None:
        """Ignore it."""

    def on_count(self, what: str, done: int, total: int) -> None:
        """Ignore it."""

    def trainer_hooks(self, stage: str) -> list[TrainerHook]:  # noqa: ARG002
        """None."""
        return []


@dataclass(frozen=True, slots=True)
class StoppableProgress:
    """Reports to another progress, and ends a step that counts: replies and comparisons take minutes, as trainings do.

    Attributes:
        progress: receives the progress.
        stop: polled at every count; True raises `TrainingInterrupted`.
    """

    progress: CycleProgress
    stop: Callable[[], bool]

    def on_step(self, step: str, description: str) -> None:
        """Report it."""
        self.progress.on_step(step, description)

    def on_count(self, what: str, done: int, total: int) -> None:
        """Stop or report it."""
        if self.stop():
            raise TrainingInterrupted
        self.progress.on_count(what, done, total)

    def trainer_hooks(self, stage: str) -> list[TrainerHook]:
        """Those of the other progress."""
        return self.progress.trainer_hooks(stage)
