"""What an objective needs that trains on replies of the model itself: a source of sampled replies, with state.

The trainer calls `warm_up` once before the first step, `step` and `finish_step` around every optimizer step, and
`validate` at every validation. The state is part of every checkpoint, so that a run that was killed continues with the
same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import Example

OnProgress = Callable[[str, int, int], None]
"""Receives what is done before the first step, the number of finished units and their total."""


@dataclass(frozen=True, slots=True)
class StepRollouts:
    """The examples of one step.

    Attributes:
        examples: prompts with sampled or human replies, labelled for the objective's loss.
        metrics: values to log.
    """

    examples: Sequence[Example]
    metrics: Mapping[str, float] = field(default_factory=dict)


class RolloutSource:
    """Base class. A subclass turns the examples of a step, prompts with human replies, into those to train on.

    Attributes:
        stop_reason: why training ends now, as a sentence; None: it goes on.
    """

    stop_reason: str | None = None

    def warm_up(self, on_progress: OnProgress, stop: Callable[[], bool]) -> None:
        """Do what comes before the first step. Raises `StopRequested` if `stop` returns True."""

    def step(self, examples: Sequence[Example], step: int) -> StepRollouts:
        """Return what step number `step`, from 0, trains on in place of `examples`."""
        raise NotImplementedError

    def pack(self, examples: Sequence[Example], micro_batch_size: int) -> list[Batch]:
        """Collate the examples of a step into micro-batches; again if memory allows fewer rows."""
        raise NotImplementedError

    def finish_step(self) -> Mapping[str, float]:
        """Train what is trained beside the model, after its optimizer step. Returns values to log."""
        return {}

    def validate(self, step: int, loss: float) -> Mapping[str, float]:  # noqa: ARG002
        """Measure replies to held-out prompts after `step` steps, and set `stop_reason` if a guard trips.

        Args:
            step: steps made so far.
            loss: cross-entropy of the human replies to all held-out prompts.
        """
        return {}

    @property
    def start_metrics(self) -> Mapping[str, float]:
        """What `validate` measured before the first step; empty before that."""
        return {}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values to store in a checkpoint."""
        return {}, {}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Continue with the state of a checkpoint."""

    def save(self, folder: Path) -> None:
        """Write what the run has trained besides the model into a new folder of the model folder."""

    def close(self) -> None:
        """Free the engine."""
