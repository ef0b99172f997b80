"""A source that delivers a list, and a pipeline to give it to."""

from monitor_stand_ins import DETECTION, START, TOPICS, WINDOW, text
from turnwise.app.monitor.pipeline import MonitorPipeline
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.stream_texts import SourceBatch


class ListSource:
    """Delivers a list; the position is the number of delivered texts. `confirmed` is what was stored."""

    def __init__(self, name, texts, has_end=True):
        self.name, self.texts, self.has_end, self.confirmed = name, texts, has_end, 0

    def read(self, position, limit):
        start = (position or {"n": 0})["n"]
        end = min(len(self.texts), start + limit)
        is_at_end = end == len(self.texts)
        return SourceBatch(tuple(self.texts[start:end]), {"n": end}, not is_at_end, is_at_end and self.has_end)

    def confirm(self, position):
        self.confirmed = position["n"]

    def close(self):
        pass


def open_pipeline(store):
    settings = PipelineSettings(WindowSettings(WINDOW, 30.0), max_future_seconds=None)
    return MonitorPipeline(store, DETECTION, TOPICS, SentimentLabeller(None), settings, clock=lambda: START)


def texts_of(source, seconds):
    return [text(second, f"acme {source} {second}", id=f"{source}{second}") for second in seconds]
