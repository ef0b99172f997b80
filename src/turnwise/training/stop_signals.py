"""Stop signals: recorded by a handler and acted on between two batches, so that a checkpoint can be written.

Ctrl-C (SIGINT), a stopping service manager or container (SIGTERM) and a closed terminal (SIGHUP) all end the run with a
checkpoint. A second Ctrl-C interrupts immediately.
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
        exit_code: 128 plus the signal number, as in shells.
    """

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


@contextmanager
def capture_stop_signals() -> Iterator[Callable[[], int]]:
    """Context manager: record stop signals in the block; yields a function that returns the signal number or 0.

    Signals that are ignored (nohup) or already have a handler are left alone, and so are all outside the main thread.
    """
    signum = 0

    def record(number: int, frame: FrameType | None) -> None:
        nonlocal signum
        if number == signal.SIGINT and signum == signal.SIGINT:
            signal.default_int_handler(number, frame)
        signum = signum or number

    previous = {}
    if threading.current_thread() is threading.main_thread():
        defaults = (signal.SIG_DFL, signal.default_int_handler)
        previous = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) in defaults}
    for number in previous:
        signal.signal(number, record)
    try:
        yield lambda: signum
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of a program that ends with this interrupt."""
    return error.exit_code if isinstance(error, TrainingInterrupted) else TrainingInterrupted().exit_code
