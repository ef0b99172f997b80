"""Alerts, and the webhook events that announce their opening and closing."""

import json
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from turnwise.core.monitor_records import SurgeAlert
from turnwise.core.webhook_deliveries import WebhookEvent
from turnwise.monitor.copy_groups import TextGroup
from turnwise.monitor.surge_detector import SurgeEvent
from turnwise.monitor.surge_model import Kind

MAX_EVENT_TEXTS = 5  # groups of near copies in an event
MAX_TEXT_LENGTH = 500  # characters of a text in an event


def make_alert(surge: SurgeEvent, summary: str) -> SurgeAlert:
    """The alert of a surge that opens."""
    return SurgeAlert(
        surge.alert_id, surge.topic, surge.kind, int(surge.start), int(surge.at), None, _finite(surge.expected),
        _finite(surge.observed), _finite(surge.score), summary,
    )  # fmt: skip


def closing_event(alert: SurgeAlert, at: int) -> SurgeEvent:
    """The event that closes an alert without a detector, with the numbers of its opening."""
    kind: Kind = "negative_share" if alert.kind == "negative_share" else "volume"
    return SurgeEvent(
        alert.topic, kind, "closed", alert.start, at, alert.expected, alert.observed, alert.score, alert.id
    )


def make_events(
    surge: SurgeEvent, summary: str, groups: Sequence[TextGroup], urls: Sequence[str], now: float
) -> list[WebhookEvent]:
    """The events of one phase of a surge, one per receiver.

    The id is the same whenever the phase is announced, so that receivers recognise repeats. It has no full stop, which
    divides the parts of the signed content.

    Args:
        surge: the event of the detector.
        summary: description of the texts.
        groups: the texts, near copies together.
        urls: receivers.
        now: Unix time in seconds.
    """
    body = json.dumps(_payload(surge, summary, groups), ensure_ascii=False, allow_nan=False)
    return [WebhookEvent(f"{surge.alert_id}_{surge.phase}", url, body, now) for url in urls]


def _payload(surge: SurgeEvent, summary: str, groups: Sequence[TextGroup]) -> dict[str, Any]:
    return {
        "type": f"surge.{surge.phase}",
        "timestamp": iso_time(surge.at),
        "data": {
            "alert_id": surge.alert_id,
            "topic": surge.topic,
            "kind": surge.kind,
            "phase": surge.phase,
            "start": iso_time(surge.start),
            "at": iso_time(surge.at),
            "expected": _finite(surge.expected),
            "observed": _finite(surge.observed),
            "score": _finite(surge.score),
            "summary": summary,
            "texts": [
                {
                    "time": iso_time(group.text.text.time),
                    "text": group.text.text.text[:MAX_TEXT_LENGTH],
                    "sentiment": group.text.sentiment,
                    "copies": group.size - 1,
                }
                for group in groups[:MAX_EVENT_TEXTS]
            ],
        },
    }


def iso_time(seconds: float) -> str:
    """Unix seconds as an ISO 8601 time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _finite(value: float) -> float:
    """The value, or the nearest that JSON can hold: the score against an expectation of zero is infinite."""
    return 0.0 if math.isnan(value) else max(-sys.float_info.max, min(sys.float_info.max, float(value)))
