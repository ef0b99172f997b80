"""What a cycle reports while it runs."""

from typing import Protocol

from turnwise.training.hooks import TrainerHook


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
