"""Ctrl-C between two steps: in the middle of one, half of the weights would be new and the checkpoint worthless."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_noted() -> Iterator[Callable[[], bool]]:
    """Within the block a first Ctrl-C is only noted, and what is yielded tells of it; a second one interrupts at once.

    Where somebody else handles SIGINT, or ignores it, and outside the main thread, nothing is changed.
    """
    asked = False

    def note(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(signum, frame)
        asked = True

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
