"""Adds alerts that open or close to a batch, with their texts and events."""

from collections.abc import Callable, Collection, Sequence

from turnwise.app.monitor.alert_events import closing_event, make_alert, make_events
from turnwise.app.monitor.alert_texts import ExtractiveSummary, SummaryWriter
from turnwise.app.monitor.busy_store import BusyRetry
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.monitor_records import MonitoredText
from turnwise.core.monitor_store import MonitorStore
from turnwise.monitor.copy_groups import group_copies
from turnwise.monitor.surge_detector import SurgeEvent

MAX_WRITTEN_SUMMARIES = 3  # by a chat model in a batch; further alerts get extractive ones
MAX_ALERT_TEXTS = 500  # texts that an alert keeps at its opening, and again at its closing


class AlertRecorder:
    """Makes alerts and events of what the detectors find.

    Args:
        store: has the texts and alerts of earlier batches.
        busy_retry: waits for a store that another process uses.
        urls: receivers of events.
        summaries: describes the texts behind alerts.
        clock: returns Unix seconds.
    """

    def __init__(
        self,
        store: MonitorStore,
        busy_retry: BusyRetry,
        urls: Sequence[str],
        summaries: SummaryWriter,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._busy_retry, self._urls = store, busy_retry, urls
        self._summaries, self._clock = summaries, clock

    def record(self, surge: SurgeEvent, batch: MonitorBatch) -> None:
        """Add an alert that opens or closes, with its texts and events, to the batch."""
        if surge.phase == "opened":
            texts = self._texts_behind(surge, surge.start, batch)
            groups = group_copies(texts)
            # A model can take many seconds per alert, while texts wait and pushed requests are not answered.
            is_limited = len(batch.opened) >= MAX_WRITTEN_SUMMARIES
            summaries = ExtractiveSummary() if is_limited else self._summaries
            alert = make_alert(surge, summaries.summary(surge, groups))
            batch.opened.append(alert)
        else:
            opened = next((alert for alert in batch.opened if alert.id == surge.alert_id), None)
            stored = opened or self._busy_retry.call(self._store.alert, surge.alert_id)
            if stored is None:  # deleted by its owner
                return
            alert = stored
            texts = self._texts_behind(surge, alert.opened, batch)  # earlier ones are stored with the opening
            groups = group_copies(texts)
            batch.closed[surge.alert_id] = int(surge.at)
        numbers = batch.alert_texts.setdefault(surge.alert_id, [])
        numbers += [entry.number for entry in texts if entry.number not in numbers]
        batch.events += make_events(surge, alert.summary, groups, self._urls, self._clock())

    def close_abandoned(self, topics: Collection[str], time: int, batch: MonitorBatch) -> None:
        """Close the open alerts of topics whose detectors could not be continued: no detector will close them.

        Args:
            topics: names of the topics.
            time: end of the newest closed window, in Unix seconds.
            batch: gets the changes.
        """
        for alert in self._busy_retry.call(self._store.open_alerts) if topics else ():
            if alert.topic in topics:
                self.record(closing_event(alert, max(alert.opened, time)), batch)

    def _texts_behind(self, surge: SurgeEvent, start: int, batch: MonitorBatch) -> list[MonitoredText]:
        """Texts of the surge's topic from `start` to this event, stored ones and those of the batch."""
        is_negative = surge.kind == "negative_share"
        texts = self._busy_retry.call(
            self._store.topic_texts, surge.topic, start, surge.at, MAX_ALERT_TEXTS, is_negative=is_negative
        )
        texts += [
            entry
            for entry in batch.texts
            if surge.topic in entry.topics
            and start <= entry.text.time < surge.at
            and not entry.is_late
            and (entry.is_negative or not is_negative)
        ]
        return texts[:MAX_ALERT_TEXTS]
