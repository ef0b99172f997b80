"""Lets a running server use versions that were added after its start."""

import logging
import threading
from contextlib import AbstractContextManager, ExitStack

from turnwise.app.scenario_services import ServicePath
from turnwise.app.version_serving.model_opener import ModelOpener
from turnwise.core.errors import TurnwiseError

POLL_SECONDS = 2.0  # between two looks for a registry, which cost one look at a file while there is none

log = logging.getLogger("turnwise.server")


class VersionAdopter(AbstractContextManager["VersionAdopter"]):
    """A thread that opens the versions of models that had none. Use it as a context manager."""

    def __init__(self, opener: ModelOpener, path: ServicePath, *, poll_seconds: float = POLL_SECONDS) -> None:
        """Watch for versions of the models of `opener`, which get the scenarios of `path`."""
        self._opener, self._path, self._poll_seconds = opener, path, poll_seconds
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._last_error = ""
        self._thread = threading.Thread(target=self._run, name="turnwise-new-versions", daemon=True)

    def __enter__(self) -> "VersionAdopter":
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread and close the versions that it opened."""
        self._stop.set()
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self._opener.adopt_versions(self._stack, self._path)
                self._last_error = ""
            except Exception as error:  # the models go on as they are
                self._report(error)

    def _report(self, error: Exception) -> None:
        message = str(error) if isinstance(error, TurnwiseError) else repr(error)
        if message != self._last_error:
            log.error("Versions cannot be used yet; the models stay as they are. %s", message)
        self._last_error = message
