"""A version in memory, with the number of requests that use it."""

import threading
from collections.abc import Callable

from turnwise.core.chat_service import ChatService
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import AnsweringVersion


class LiveVersion:
    """A loaded version. It is closed only while no request uses it. Safe from any thread.

    Attributes:
        number: number of the version.
        answering: reference and digest, which are stored with answers.
        model: generates with this version, without scenarios.
        service: answers requests with this version.
    """

    def __init__(
        self,
        version: ModelVersion,
        model: ChatService,
        close: Callable[[], None],
        *,
        service: ChatService | None = None,
    ) -> None:
        """Count the requests of a version.

        Args:
            version: the record of the registry.
            model: generates with it.
            close: frees its memory.
            service: answers requests; default: `model`.
        """
        self.number, self.answering = version.number, AnsweringVersion.of(version)
        self.model, self.service = model, model if service is None else service
        self._close = close
        self._lock = threading.Lock()
        self._num_requests, self._is_closed = 0, False

    @property
    def num_requests(self) -> int:
        """Requests that use it now."""
        return self._num_requests

    def acquire(self) -> bool:
        """Use it for a request. Returns False if it is closed."""
        with self._lock:
            self._num_requests += not self._is_closed
            return not self._is_closed

    def release(self) -> None:
        """End the use by one request. Never frees memory itself, because requests end in the event loop."""
        with self._lock:
            assert self._num_requests > 0, "each request releases the version once"
            self._num_requests -= 1

    def close_if_idle(self) -> bool:
        """Free its memory if no request uses it. Returns True if it is closed."""
        with self._lock:
            if self._num_requests or self._is_closed:
                return self._is_closed
            self._is_closed = True
        self._close()
        return True

    def close(self) -> None:
        """Free its memory now. Requests that use it end as cancelled."""
        with self._lock:
            is_closed, self._is_closed = self._is_closed, True
        if not is_closed:
            self._close()
