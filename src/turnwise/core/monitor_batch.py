"""All changes of the text monitor's store that belong together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.monitor_records import MonitoredText, SurgeAlert, TopicCount, TopicExpectation
from turnwise.core.stream_texts import Position
from turnwise.core.webhook_deliveries import WebhookEvent


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """Event times, in Unix seconds, before which records are deleted.

    Attributes:
        texts: for texts; texts of alerts and texts from `first_number` on are kept.
        ids: for ids of texts, and for delivered events.
        counts: for counts.
        first_number: number of the first text that must be kept.
        expectations: for what was expected of windows.
    """

    texts: float
    ids: float
    counts: float
    first_number: int
    expectations: float = 0.0


@dataclass(slots=True)
class MonitorBatch:
    """All changes of a batch; they are stored together or not at all.

    Attributes:
        texts: new texts.
        repeated_ids: ids of texts that had arrived before.
        id_time: event time at which ids were last seen, for their retention.
        counts: changed counts, complete values.
        expectations: what was expected of windows that closed.
        positions: new positions of sources.
        states: changed states by name, JSON objects.
        deleted_states: names of states to delete.
        figures: changed totals by name, complete values.
        opened: new alerts.
        closed: event times at which alerts closed, by id.
        alert_texts: numbers of the texts of alerts, by id; added to those that are stored.
        events: events to deliver.
        retention: what to delete; None: nothing.
    """

    texts: list[MonitoredText] = field(default_factory=list)
    repeated_ids: list[str] = field(default_factory=list)
    id_time: float = 0.0
    counts: list[TopicCount] = field(default_factory=list)
    expectations: list[TopicExpectation] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    states: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    deleted_states: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)
    opened: list[SurgeAlert] = field(default_factory=list)
    closed: dict[str, int] = field(default_factory=dict)
    alert_texts: dict[str, list[int]] = field(default_factory=dict)
    events: list[WebhookEvent] = field(default_factory=list)
    retention: RetentionLimits | None = None
