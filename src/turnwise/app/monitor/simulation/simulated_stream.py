"""A simulated stream of opinions with known surges, to measure the detector and to try the monitor.

The rate of a topic has a season of the day, quieter weekends and random fluctuation over hours and from window to
window, so it is not the model that the detector assumes. Some posts are passed on in bursts of near copies; they are no
surge.

Shapes: T topics, W windows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from turnwise.app.monitor.simulation.simulated_texts import COMPANIES, compose_post, edit_copy
from turnwise.monitor.detector_settings import SECONDS_PER_DAY
from turnwise.monitor.surge_detector import WindowCount
from turnwise.monitor.surge_model import Kind

LAST_DAY = 20_614  # days since 1970: 2026-06-10, a Wednesday
NEGATIVE_SHARE, POSITIVE_SHARE = 0.25, 0.35  # positive: of the posts that are not negative
MAX_NEGATIVE_SHARE = 0.95
WEEKEND_FACTOR = 0.4
TOPIC_EXPONENT = 0.8  # the topic of rank r has a share of posts proportional to r ** -0.8
MEAN_COPIES = 150  # per burst


@dataclass(frozen=True, slots=True)
class SimulatedPost:
    """A post; `is_copy` is true for a near copy of an earlier one."""

    time: int
    topic: str
    sentiment: str
    text: str
    is_copy: bool


@dataclass(frozen=True, slots=True)
class SimulatedSurge:
    """Truth: the expected count, or the negative share, is `factor` times as high from `start` to `end`."""

    topic: str
    kind: Kind
    start: int
    end: int
    factor: float


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of a simulated stream.

    Attributes:
        seed: everything is drawn from it.
        posts_per_day: mean number of posts on a working day, copies included.
        topics: number of topics, at most 25.
        history_days: days before the last one, without surges.
        surges: number of surges on the last day, one per topic at most.
        copy_share: share of posts that are near copies.
        fluctuation: standard deviation of the logarithm of the rate, with a correlation time of two hours.
        dispersion: squared relative deviation of the rate from window to window.
        window_seconds: length of a window.
        last_day: the last day, in days since 1970.
    """

    seed: int = 0
    posts_per_day: int = 100_000
    topics: int = 25
    history_days: int = 35
    surges: int = 20
    copy_share: float = 0.2
    fluctuation: float = 0.15
    dispersion: float = 0.03
    window_seconds: int = 300
    last_day: int = LAST_DAY


class SimulatedStream:
    """Counts of all windows, and the posts of the last days."""

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        self.topics = COMPANIES[: settings.topics]
        self._rng = np.random.default_rng(settings.seed)
        self._windows_per_day = SECONDS_PER_DAY // settings.window_seconds
        num_windows = (settings.history_days + 1) * self._windows_per_day
        self._last_start = settings.last_day * SECONDS_PER_DAY
        self.starts_W = self._last_start + settings.window_seconds * (
            np.arange(num_windows) - settings.history_days * self._windows_per_day
        )
        self.surges = self._draw_surges()
        self.counts_TW, self.negative_TW = self._draw_counts()

    def _draw_surges(self) -> list[SimulatedSurge]:
        surges = []
        topics = self._rng.permutation(len(self.topics))[: self.settings.surges]
        for index, topic in enumerate(topics):
            minutes = int(self._rng.integers(4, 25)) * 5  # 20 minutes to 2 hours
            start = self._last_start + int(self._rng.integers(12, 264)) * 300
            factor = float(np.exp(self._rng.uniform(np.log(2), np.log(6))))
            kind: Kind = "negative_share" if index % 2 else "volume"
            surges.append(SimulatedSurge(self.topics[topic], kind, start, start + minutes * 60, factor))
        return sorted(surges, key=lambda surge: surge.start)

    def _draw_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Posts without copies, and the negative ones among them, of shape `(T, W)`."""
        settings, rng = self.settings, self._rng
        weights_T = np.arange(1, len(self.topics) + 1) ** -TOPIC_EXPONENT
        originals = settings.posts_per_day * (1 - settings.copy_share) / self._windows_per_day
        rate_TW = (originals * weights_T / weights_T.sum())[:, None] * self._season_W()
        shape = rate_TW.shape
        noise_TW = correlated_noise(rng, shape, 7200 / settings.window_seconds)
        rate_TW *= np.exp(settings.fluctuation * noise_TW - settings.fluctuation**2 / 2)
        if settings.dispersion:
            rate_TW *= rng.gamma(1 / settings.dispersion, settings.dispersion, shape)
        hours_W = self.starts_W % SECONDS_PER_DAY / 3600
        share_TW = np.tile(NEGATIVE_SHARE * (1 + 0.1 * np.cos(2 * np.pi * hours_W / 24)), (shape[0], 1))
        for surge in self.surges:
            is_surge_W = (self.starts_W >= surge.start) & (self.starts_W < surge.end)
            (rate_TW if surge.kind == "volume" else share_TW)[self.topics.index(surge.topic), is_surge_W] *= (
                surge.factor
            )
        counts_TW = rng.poisson(rate_TW)
        return counts_TW, rng.binomial(counts_TW, np.minimum(share_TW, MAX_NEGATIVE_SHARE))

    def _season_W(self) -> NDArray[np.float64]:
        """Relative rate, with mean 1 on a working day: low at night, highest in the afternoon (UTC)."""
        hours_W = self.starts_W % SECONDS_PER_DAY / 3600
        angle_W = 2 * np.pi * (hours_W - 15) / 24
        season_W = np.exp(np.cos(angle_W) + 0.4 * np.cos(2 * angle_W))
        season_W /= season_W[: self._windows_per_day].mean()
        is_weekend_W = (self.starts_W // SECONDS_PER_DAY + 3) % 7 >= 5
        return np.where(is_weekend_W, WEEKEND_FACTOR, 1.0) * season_W

    def windows(self) -> Iterator[WindowCount]:
        """All windows in the order of time, near copies left out."""
        for window, start in enumerate(self.starts_W.tolist()):
            for topic, name in enumerate(self.topics):
                yield WindowCount(name, start, int(self.counts_TW[topic, window]), int(self.negative_TW[topic, window]))

    def history(self) -> Iterator[WindowCount]:
        """The windows before the last day."""
        return (window for window in self.windows() if window.start < self._last_start)

    def posts(self, days: int = 1) -> Iterator[SimulatedPost]:
        """Posts of the last `days` in the order of time, near copies included. A window at a time is in memory."""
        windows = range(max(0, len(self.starts_W) - days * self._windows_per_day), len(self.starts_W))
        post_rng, copy_rng = (np.random.default_rng((self.settings.seed, stream)) for stream in (1, 2))
        bursts = self._draw_bursts(copy_rng, int(self.counts_TW[:, windows].sum()))
        waiting: list[tuple[int, int, SimulatedPost]] = []  # copies that are later than the posts so far; a heap
        num_originals = num_copies = 0
        for window in windows:
            posts = []
            for post in self._originals(post_rng, window):
                posts.append(post)
                for delay in copy_rng.exponential(1200, bursts.get(num_originals, 0)):
                    time = min(post.time + 1 + int(delay), self._last_start + SECONDS_PER_DAY - 1)
                    copy = SimulatedPost(time, post.topic, post.sentiment, edit_copy(copy_rng, post.text), True)
                    heappush(waiting, (time, num_copies, copy))
                    num_copies += 1
                num_originals += 1
            end = self.starts_W[window] + self.settings.window_seconds
            while waiting and waiting[0][0] < end:
                posts.append(heappop(waiting)[2])
            yield from sorted(posts, key=lambda post: (post.time, post.is_copy))

    def _draw_bursts(self, rng: np.random.Generator, num_originals: int) -> dict[int, int]:
        """Number of near copies of those originals that have some, by their number in the order of creation."""
        share = self.settings.copy_share
        left = int(num_originals * share / (1 - share))
        bursts: dict[int, int] = {}
        while left > 0:
            number, size = int(rng.integers(num_originals)), min(left, int(rng.geometric(1 / MEAN_COPIES)))
            bursts[number] = bursts.get(number, 0) + size
            left -= size
        return bursts

    def _originals(self, rng: np.random.Generator, window: int) -> Iterator[SimulatedPost]:
        """The posts of a window that are no copies, topic by topic."""
        for topic, name in enumerate(self.topics):
            count, negative = self.counts_TW[topic, window], self.negative_TW[topic, window]
            times = np.sort(rng.integers(self.settings.window_seconds, size=count)) + self.starts_W[window]
            for number, time in zip(rng.permutation(count), times.tolist(), strict=True):
                sentiment = "positive" if rng.random() < POSITIVE_SHARE else "neutral"
                if number < negative:
                    sentiment = "negative"
                yield SimulatedPost(time, name, sentiment, compose_post(rng, name, sentiment), False)


def correlated_noise(rng: np.random.Generator, shape: tuple[int, ...], time_constant: float) -> NDArray[np.float64]:
    """Standard normal noise of shape `(T, W)` whose correlation falls by e over `time_constant` windows."""
    noise_TW = rng.standard_normal(shape)
    memory = np.exp(-1 / time_constant)
    noise_TW[:, 1:] *= np.sqrt(1 - memory**2)
    for window in range(1, shape[1]):
        noise_TW[:, window] += memory * noise_TW[:, window - 1]
    return noise_TW
