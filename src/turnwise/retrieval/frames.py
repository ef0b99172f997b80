"""Messages between the parser process and its parent: JSON values in frames, through a pipe.

A frame is the length of its content, 4 bytes in network order, and the content, JSON in UTF-8. JSON and not pickle:
a parser that a document has taken over can send wrong blocks, but it cannot run code in the parent.

The parent sends a request, the process answers `ACCEPTED` at once, then batches of blocks, then the title.
"""

import json
import os
import select
import struct
import time
from typing import Any

MAX_FRAME_BYTES = 64 * 2**20
READ_BYTES = 2**16
ACCEPTED = {"accepted": True}
_LENGTH = struct.Struct("!I")


class InvalidFrame(Exception):
    """The other side does not speak this protocol."""


def write_frame(descriptor: int, value: Any) -> None:
    """Write a JSON value to a pipe. Blocks while the pipe is full. Raises `OSError` if the other side is gone."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    view = memoryview(_LENGTH.pack(len(content)) + content)
    while view:
        view = view[os.write(descriptor, view) :]


class FrameReader:
    """Reads JSON values from a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN | select.POLLHUP)

    def read(self, seconds: float | None = None) -> Any:
        """The next value.

        Args:
            seconds: how long to wait for it. Default: without limit.

        Raises:
            EOFError: the other side has closed the pipe.
            TimeoutError: the value has not arrived in time.
            InvalidFrame: what arrived is no frame.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        self._fill(_LENGTH.size, deadline)
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise InvalidFrame(f"a frame of {length:,} bytes")
        self._fill(_LENGTH.size + length, deadline)
        content = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
        del self._buffer[: _LENGTH.size + length]
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InvalidFrame("a frame that is no JSON") from error

    def _fill(self, size: int, deadline: float | None) -> None:
        """Read until the buffer has `size` bytes."""
        while len(self._buffer) < size:
            if deadline is not None:
                milliseconds = max(0, 1000 * (deadline - time.monotonic()))
                if not self._poll.poll(milliseconds):
                    raise TimeoutError
            chunk = os.read(self._descriptor, READ_BYTES)
            if not chunk:
                raise EOFError
            self._buffer += chunk
