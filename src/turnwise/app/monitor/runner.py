"""Reads the sources in turn and gives what they deliver to the pipeline, until they end or the program is stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turnwise.app.monitor.busy_store import OnBusy
from turnwise.app.monitor.pipeline import MonitorPipeline, ProcessedBatch
from turnwise.core.errors import Unavailable
from turnwise.core.stream_texts import SourceBatch, TextSource

BATCH_SIZE = 256  # texts that are labelled and stored together
POLL_SECONDS = 0.5  # pause when no source has texts
IDLE_SECONDS = 30.0  # without texts, before windows close by the clock
MAX_LAG_SECONDS = 3600.0  # a stream whose newest text is older is a recording: the clock does not close its windows
BUSY_SECONDS = 1.0  # pause when another process uses the store
REPORT_SECONDS = 60.0  # between two reports of a store that stays busy

OnBatch = Callable[[ProcessedBatch, SourceBatch | None], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How long the sources are read.

    Attributes:
        once: end when no source has texts, instead of waiting for more.
        is_recording: the sources are complete recordings: at their end all windows are closed.
        batch_size: maximum number of texts of a batch.
    """

    once: bool = False
    is_recording: bool = False
    batch_size: int = BATCH_SIZE


def run_sources(
    pipeline: MonitorPipeline,
    sources: Sequence[TextSource],
    options: RunOptions,
    *,
    is_stopped: Callable[[], bool],
    on_batch: OnBatch,
    on_source_error: Callable[[str, str], None] = lambda name, error: None,  # noqa: ARG005
    on_busy_store: Callable[[str], None] = lambda error: None,  # noqa: ARG005
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Process the texts of all sources.

    Args:
        pipeline: processes batches.
        sources: where the texts come from.
        options: how long they are read.
        is_stopped: returns True if the run should end after the current batch.
        on_batch: called after every stored batch.
        on_source_error: called with the name of a source and the reason, when it cannot be read at present.
        on_busy_store: called with the reason when a batch waits because another process uses the store.
        clock: returns Unix seconds.
        sleep: waits.

    Raises:
        UserError: a source cannot be used. SaveFailed: the store cannot be written.
    """
    pipeline.busy_retry.on_busy = _make_wait(is_stopped, on_busy_store, sleep, clock)
    unfinished = {source.name: source for source in sources}
    has_more = dict.fromkeys(unfinished, True)  # until a first read shows it
    is_waiting = dict.fromkeys(unfinished, False)
    errors: dict[str, str] = {}
    next_reads: dict[str, float | None] = {}
    last_text = clock()
    while unfinished and not is_stopped():
        num_texts = 0
        for source in list(unfinished.values()):
            if is_stopped():
                return
            # A source that catches up after a pause has older texts than the others: their windows wait for it.
            others = [name for name in unfinished if name != source.name and (has_more[name] or is_waiting[name])]
            wait_for = min((pipeline.source_times.get(name, float("-inf")) for name in others), default=float("inf"))
            try:
                batch = source.read(pipeline.positions.get(source.name), options.batch_size)
                if batch.texts or batch.num_malformed or batch.position != pipeline.positions.get(source.name, {}):
                    processed = pipeline.process(
                        batch.texts,
                        {source.name: batch.position},
                        num_malformed=batch.num_malformed,
                        wait_for=wait_for,
                    )
                    source.confirm(batch.position)
                    on_batch(processed, batch)
                else:
                    source.confirm(batch.position)
            except Unavailable:
                if is_stopped():
                    return
                sleep(BUSY_SECONDS)
                num_texts += 1  # read again at once
                continue
            if batch.error and batch.error != errors.get(source.name):
                on_source_error(source.name, batch.error)
            errors[source.name], next_reads[source.name] = batch.error, batch.next_read
            num_texts += len(batch.texts)
            has_more[source.name], is_waiting[source.name] = batch.has_more, batch.is_waiting
            if batch.is_finished:
                del unfinished[source.name]
        if num_texts or any(has_more[name] for name in unfinished):
            last_text = clock() if num_texts else last_text
            continue
        if not unfinished or (options.once and not any(is_waiting[name] for name in unfinished)):
            break
        last_text = min(last_text, clock())  # the clock was set back
        if clock() - last_text >= IDLE_SECONDS:
            reads = [next_reads[name] for name in unfinished]
            _close_idle_windows(pipeline, min([clock(), *(read for read in reads if read is not None)]), on_batch)
        sleep(POLL_SECONDS)
    if options.is_recording and not is_stopped():
        on_batch(pipeline.finish(), None)


def _make_wait(
    is_stopped: Callable[[], bool],
    report: Callable[[str], None],
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> OnBusy:
    """Waits for a busy store until the run is stopped, and reports it once a minute."""
    last_report = float("-inf")

    def wait(error: Unavailable) -> bool:
        nonlocal last_report
        if is_stopped():
            return False
        if not last_report <= clock() < last_report + REPORT_SECONDS:
            last_report = clock()
            report(str(error))
        sleep(BUSY_SECONDS)
        return True

    return wait


def _close_idle_windows(pipeline: MonitorPipeline, now: float, on_batch: OnBatch) -> None:
    newest = max(pipeline.source_times.values(), default=None)
    if newest is None or now - newest > MAX_LAG_SECONDS:
        return
    try:
        processed = pipeline.advance(now)
    except Unavailable:
        return
    if processed.opened or processed.closed:
        on_batch(processed, None)
