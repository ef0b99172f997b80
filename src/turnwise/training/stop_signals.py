"""Signals that end a run: noted, and acted on between two batches, so that the checkpoint is whole.

Ctrl-C (SIGINT), a service manager or container that stops (SIGTERM) and a terminal that closes (SIGHUP) all leave a
checkpoint. A second Ctrl-C interrupts at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class TrainingInterrupted(KeyboardInterrupt):
    """A signal ended the run after a checkpoint was written.

    Attributes:
        exit_code: 128 plus the signal's number, as shells report it.
    """

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


@contextmanager
def capture_stop_signals() -> Iterator[Callable[[], int]]:
    """Within the block signals are only noted; what is yielded returns the signal's number, 0 before any came.

    A signal that somebody else handles or ignores (nohup) is left alone, and so is everything outside the main thread.
    """
    signum = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal signum
        if number == signal.SIGINT and signum == signal.SIGINT:
            signal.default_int_handler(number, frame)
        signum = signum or number

    previous = {}
    if threading.current_thread() is threading.main_thread():
        defaults = (signal.SIG_DFL, signal.default_int_handler)
        previous = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) in defaults}
    for number in previous:
        signal.signal(number, note)
    try:
        yield lambda: signum
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def exit_code(error: KeyboardInterrupt) -> int:
    """The exit code of a program that an interrupt ended."""
    return error.exit_code if isinstance(error, TrainingInterrupted) else TrainingInterrupted().exit_code
