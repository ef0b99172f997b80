"""Output of `turnwise improve` on the terminal: the steps of a cycle, with progress bars."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from turnwise.cli.progress_bars import progress_bar

if TYPE_CHECKING:
    from turnwise.training.hooks import TrainerHook


class ConsoleCycleProgress:
    """Prints the steps of a cycle (implements `improve.progress.CycleProgress`). A context manager."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._stack = ExitStack()
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> "ConsoleCycleProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def on_step(self, step: str, description: str) -> None:  # noqa: ARG002
        """Print what starts."""
        self._close_bars()
        self._console.print(f"{description} …", markup=False)

    def on_count(self, what: str, done: int, total: int) -> None:
        """Advance the bar of `what`."""
        if not total:
            return
        if what not in self._bars:
            self._close_bars()  # one bar at a time
            self._bars[what] = self._stack.enter_context(progress_bar(self._console, what))
        self._bars[what](done, total)

    def trainer_hooks(self, stage: str) -> "list[TrainerHook]":  # noqa: ARG002
        """The bar of a training."""
        from turnwise.training.loggers import ProgressBarHook

        self._close_bars()
        return [ProgressBarHook(self._console)]

    def _close_bars(self) -> None:
        self._stack.close()
        self._bars = {}
