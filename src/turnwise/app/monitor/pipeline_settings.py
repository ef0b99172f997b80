"""Settings of the monitor's pipeline, and which stored records they keep."""

from dataclasses import dataclass, field

from turnwise.app.monitor.classifier_identity import ClassifierIdentity
from turnwise.app.monitor.text_intake import MAX_FUTURE_SECONDS
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.monitor_batch import RetentionLimits

SECONDS_PER_DAY = 86_400
KEEP_EXPECTATIONS_DAYS = 31.0  # a row for every topic and window: more than the counts need


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Settings of the pipeline.

    Attributes:
        windows: windows and lateness.
        max_future_seconds: a text that is further in the future is not counted; None: no limit, for recordings.
        keep_texts_days: days that texts are kept; those of alerts stay.
        keep_ids_days: days that ids of texts are remembered after they last arrived.
        keep_counts_days: days that counts are kept.
        snapshot_texts: number of texts after which the index of near copies is stored. A restart adds later ones again.
        labelled_by: the classifier of sentiment.
    """

    windows: WindowSettings = field(default_factory=WindowSettings)
    max_future_seconds: float | None = MAX_FUTURE_SECONDS
    keep_texts_days: float = 7.0
    keep_ids_days: float = 30.0
    keep_counts_days: float = 400.0
    snapshot_texts: int = 20_000
    labelled_by: ClassifierIdentity = field(default_factory=ClassifierIdentity)

    def retention_limits(self, now: float, first_number: int) -> RetentionLimits:
        """What to keep at `now`, an event time in Unix seconds, and the texts from `first_number` on."""
        texts, ids, counts, expectations = (
            now - SECONDS_PER_DAY * days
            for days in (
                self.keep_texts_days, self.keep_ids_days, self.keep_counts_days,
                min(self.keep_counts_days, KEEP_EXPECTATIONS_DAYS),
            )
        )  # fmt: skip
        return RetentionLimits(texts, ids, counts, first_number, expectations)
