"""`/v1/monitor`: trends and alerts of a text monitor, which another process runs."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query

from turnwise.core.errors import InvalidParameter, NotFound, did_you_mean
from turnwise.core.executors import MONITOR_READ_EXECUTOR
from turnwise.core.monitor_records import ExpectedCount, TopicCount
from turnwise.core.monitor_store import MonitorReader
from turnwise.monitor.copy_groups import group_copies
from turnwise.server.error_responses import truncate
from turnwise.server.route_roles import requires
from turnwise.server.schema.monitor_bodies import AlertBody, AlertList, AlertWithTexts, TopicList, TrendBody, TrendList

MAX_HOURS = 24 * 400  # as long as a monitor keeps counts by default
MAX_MINUTES = 60 * 24 * 7
MAX_INTERVALS = 1000  # of one topic
MAX_TREND_POINTS = 100_000  # intervals of all topics of a response, which then has about 1 MB

Result = TypeVar("Result")


def router(monitor: MonitorReader | None) -> APIRouter:
    """Return the routes. Without a monitor, they answer that there is none."""
    routes = APIRouter(prefix="/v1/monitor", tags=["monitor"])

    async def read(query: Callable[[MonitorReader], Result]) -> Result:
        if monitor is None:
            raise NotFound("This server shows no text monitor. Start it with: turnwise serve --monitor FILE")
        return await MONITOR_READ_EXECUTOR.run(query, monitor)

    @routes.get("/topics")
    @requires("admin")
    async def list_topics() -> TopicList:
        """List the topics that have counts."""
        return await read(lambda store: TopicList(data=store.topics(), newest_window=store.newest_window()))

    @routes.get("/trends")
    @requires("admin")
    async def list_trends(
        topic: Annotated[str | None, Query(description="Topic. Default: all topics.")] = None,
        hours: Annotated[float, Query(ge=0.1, le=MAX_HOURS, description="Hours up to the newest window.")] = 24,
        minutes: Annotated[int, Query(ge=1, le=MAX_MINUTES, description="Minutes that an interval adds up.")] = 60,
    ) -> TrendList:
        """Return the counts of one topic or of all topics over time, in the order of `/v1/monitor/topics`."""
        if hours * 60 / minutes > MAX_INTERVALS:
            raise InvalidParameter(
                "minutes",
                f"{hours:g} hours have more than {MAX_INTERVALS:,} intervals of {minutes} minutes. "
                "Set fewer 'hours' or more 'minutes'.",
            )
        return await read(lambda store: _trends(store, topic, hours, 60 * minutes))

    @routes.get("/alerts")
    @requires("admin")
    async def list_alerts(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> AlertList:
        """List alerts without their texts, newest first."""
        alerts = await read(lambda store: store.alerts(limit + 1))
        return AlertList(data=[AlertBody.of(alert) for alert in alerts[:limit]], has_more=len(alerts) > limit)

    @routes.get("/alerts/{id:path}")  # ids of other detectors may contain slashes
    @requires("admin")
    async def get_alert(id: str) -> AlertWithTexts:
        """Get an alert with its texts, near copies together."""
        return await read(lambda store: _alert(store, id))

    return routes


def _trends(store: MonitorReader, topic: str | None, hours: float, seconds: int) -> TrendList:
    """The trends of a topic or of all topics. Raises `NotFound` for an unknown topic, and `InvalidParameter`."""
    topics, newest = store.topics(), store.newest_window()
    if topic is not None and topic not in topics:
        hint = did_you_mean(truncate(topic), topics) if topics else "there are no counts yet."
        raise NotFound(f"There are no counts of '{truncate(topic)}'; {hint}")
    if newest is None:
        return TrendList(data=[], starts=[], seconds=seconds, newest_window=None)
    last = newest // seconds * seconds
    first = min(last, last - int(hours * 3600) // seconds * seconds + seconds)
    starts = range(first, last + seconds, seconds)
    names = topics if topic is None else [topic]
    if len(names) * len(starts) > MAX_TREND_POINTS:
        raise InvalidParameter(
            "minutes",
            f"{len(names):,} topics with {len(starts):,} intervals are more than {MAX_TREND_POINTS:,} counts. "
            "Name a 'topic', or set fewer 'hours' or more 'minutes'.",
        )
    sums: dict[str, list[TopicCount]] = {name: [] for name in names}
    for count in store.count_sums(topic, first, last + seconds, seconds):
        if count.topic in sums:  # a topic may have appeared meanwhile
            sums[count.topic].append(count)
    expected: dict[str, list[ExpectedCount]] = {name: [] for name in names}
    for entry in store.expected_sums(topic, first, last + seconds, seconds):
        if entry.topic in expected:
            expected[entry.topic].append(entry)
    trends = [TrendBody.of(name, starts, seconds, counts, expected[name]) for name, counts in sums.items()]
    return TrendList(data=trends, starts=list(starts), seconds=seconds, newest_window=newest)


def _alert(store: MonitorReader, id: str) -> AlertWithTexts:
    """An alert with its texts. Raises `NotFound` if there is none with this id."""
    alert = store.alert(id)
    if alert is None:
        raise NotFound(f"There is no alert '{truncate(id)}'.")
    return AlertWithTexts.with_texts(alert, group_copies(store.alert_texts(id)))
