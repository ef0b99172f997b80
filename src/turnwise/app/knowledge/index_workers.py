"""Threads that keep the indexes of a knowledge base up to date while a server runs.

One thread follows the store with the lexical index, the other one embeds passages in small batches. Both also see what
other processes add. A process that already writes an index keeps doing so; the threads wait for their turn.
"""

import logging
import threading
from collections.abc import Callable

from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.retrieval.dense_writer import dense_writer
from turnwise.retrieval.lexical_writer import lexical_writer

POLL_SECONDS = 0.25  # an addition of another process is searchable within a second
RETRY_SECONDS = 5.0
EMBED_PASSAGES = 32  # of a batch: other uses of the encoder wait for less than a second
_log = logging.getLogger(__name__)


class IndexWorkers:
    """Starts the threads, and stops them.

    Args:
        base: the knowledge base. It must stay open until `stop` returns.
    """

    def __init__(self, base: KnowledgeBase) -> None:
        self._base = base
        self._stopped = threading.Event()
        targets = [self._follow_lexical] if base.encoder is None else [self._follow_lexical, self._embed]
        self._threads = [
            threading.Thread(target=self._run, args=(target,), name=f"knowledge{target.__name__}", daemon=True)
            for target in targets
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop after the current batches."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, target: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            try:
                target()
            except Unavailable:  # another process writes this index
                self._stopped.wait(POLL_SECONDS)
            except TurnwiseError as error:
                _log.warning("A knowledge index could not be updated and is tried again: %s", error)
                self._stopped.wait(RETRY_SECONDS)
            except Exception as error:  # without the thread, no document would be found any more
                # The message may quote a document, which must not appear in logs.
                _log.error("A knowledge index could not be updated and is tried again: %s", type(error).__name__)
                self._stopped.wait(RETRY_SECONDS)

    def _follow_lexical(self) -> None:
        with lexical_writer(self._base.lexical_folder, self._base.store, 0.0) as writer:
            while not self._stopped.is_set():
                if not writer.update():
                    self._stopped.wait(POLL_SECONDS)
                elif writer.needs_compaction():
                    writer.rebuild()

    def _embed(self) -> None:
        encoder = self._base.encoder
        assert encoder is not None
        with dense_writer(self._base.dense_folder, encoder, 0.0) as writer:
            while not self._stopped.is_set():
                if not writer.update(self._base.store, encoder, EMBED_PASSAGES):
                    self._stopped.wait(POLL_SECONDS)
