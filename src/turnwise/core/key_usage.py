"""How much each API key uses the models: counts by day, and the port of their store. They have no contents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple, Protocol

USAGE_DAYS = 90  # days that counts are kept, today included


@dataclass(frozen=True, slots=True)
class UsageCounts:
    """Counts of requests that run a model.

    Attributes:
        requests: requests, also those that failed.
        prompt_tokens: tokens of the prompts.
        completion_tokens: generated tokens.
        errors: requests that were rejected or failed. One that its client cancelled is no error.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: int = 0

    def __add__(self, more: "UsageCounts") -> "UsageCounts":
        return UsageCounts(
            self.requests + more.requests,
            self.prompt_tokens + more.prompt_tokens,
            self.completion_tokens + more.completion_tokens,
            self.errors + more.errors,
        )


class UsageDay(NamedTuple):
    """A day in UTC, and the name of a key. A later key of the same name is counted with it."""

    day: date
    key: str


class KeyUsageStore(Protocol):
    """Stores the usage of API keys by day. Several processes may use it; counts of all are added up."""

    def add(self, counts: Mapping[UsageDay, UsageCounts]) -> None:
        """Add counts in one transaction, and delete days that are too old. Returns when they are safe on disk.

        Raises `SaveFailed` or `Unavailable`; then nothing was added.
        """

    def since(self, first: date) -> Sequence[tuple[UsageDay, UsageCounts]]:
        """The counts of a day and of later ones, by day and name. Days without requests have none."""


def utc_day(time: float) -> date:
    """The day of a Unix time, in UTC."""
    return datetime.fromtimestamp(time, UTC).date()
