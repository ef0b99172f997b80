"""Settings of the surge detector."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from turnwise.core.errors import InvalidParameter

SECONDS_PER_DAY = 86_400
DAYS_PER_MONTH = 30


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Settings of the surge detector.

    Attributes:
        window_seconds: length of a counting window; divides a day.
        alarms_per_topic_month: largest mean number of false alarms per topic in 30 days, over both kinds of alerts.
        surge_factor: size of a surge to find quickly, as a multiple of what is expected. An alert opens only where the
            observed multiple is at least the square root of it.
        minimum_count: no alert opens on fewer texts (volume) or negative texts (negative share) than this.
        minimum_texts: no alert on the negative share opens on fewer texts than this.
        history_days: memory of the season of the day, in days (time constant of exponential forgetting). After a
            longer gap a topic is learned anew.
        time_zone: IANA name of the time zone of the season and of weekends, such as "America/New_York".
        level_hours: memory of the level that the season is multiplied by, in hours; slower changes are followed.
        warmup_days: days of windows to learn from before the first alert of a topic.
        close_after: an alert closes after at least this many quiet windows.
        max_alert_hours: an alert that stays open for so long is closed, and its level becomes the expected one.
    """

    window_seconds: int = 300
    alarms_per_topic_month: float = 1.0
    surge_factor: float = 3.0
    minimum_count: int = 5
    minimum_texts: int = 10
    history_days: float = 28.0
    level_hours: float = 24.0
    warmup_days: float = 7.0
    close_after: int = 3
    max_alert_hours: float = 24.0
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        """Raise `InvalidParameter` for a value that is out of range."""
        _require(
            0 < self.window_seconds <= 3600 and SECONDS_PER_DAY % self.window_seconds == 0,
            "window_seconds", "must divide a day and be at most 3600",
        )  # fmt: skip
        _require(0 < self.alarms_per_topic_month <= 100, "alarms_per_topic_month", "must be above 0 and at most 100")
        _require(1 < self.surge_factor <= 1000, "surge_factor", "must be above 1 and at most 1000")
        _require(self.warmup_days >= 2, "warmup_days", "must be at least 2: the season of the day needs a day to learn")
        for name in ("minimum_count", "minimum_texts", "close_after", "history_days", "level_hours", "max_alert_hours"):
            _require(getattr(self, name) >= 1, name, "must be at least 1")
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, OSError, ValueError) as error:  # unknown, a folder of the database, a path
            raise _out_of_range("time_zone", "must be an IANA name such as 'America/New_York'") from error

    @property
    def windows_per_day(self) -> int:
        """Number of windows in a day."""
        return SECONDS_PER_DAY // self.window_seconds

    def local_seconds(self, time: int) -> int:
        """Return a Unix time plus the offset of `time_zone`: days of the zone are then multiples of 86,400 seconds."""
        if self.time_zone == "UTC":
            return time
        offset = datetime.fromtimestamp(time, ZoneInfo(self.time_zone)).utcoffset()
        return time + round(offset.total_seconds()) if offset else time

    @property
    def warmup_windows(self) -> int:
        """Number of windows to learn from before the first alert."""
        return round(self.warmup_days * self.windows_per_day)

    @property
    def alarms_per_window(self) -> float:
        """Largest mean number of false alarms per window, over both kinds of alerts."""
        return self.alarms_per_topic_month / (DAYS_PER_MONTH * self.windows_per_day)


def _require(condition: bool, name: str, rule: str) -> None:
    if not condition:
        raise _out_of_range(name, rule)


def _out_of_range(name: str, rule: str) -> InvalidParameter:
    return InvalidParameter(name, f"'{name}' {rule}.")
