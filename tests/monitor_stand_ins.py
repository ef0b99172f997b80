"""Stand-ins of the statistics of the text monitor, small enough to follow by hand, and streams of texts."""

import random
from collections import deque
from dataclasses import dataclass

from turnwise.app.monitor.detection import Detection
from turnwise.app.monitor.pipeline import MonitorPipeline
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.topic_rules import RuleTopics, TopicRule
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.classification import LabelScore, TextLabels
from turnwise.core.stream_texts import StreamText
from turnwise.monitor.surge_detector import WindowExpectation

WINDOW = 60
START = 1_700_000_000 // WINDOW * WINDOW
TOPICS = RuleTopics([TopicRule(name="Acme", words=("acme",)), TopicRule(name="Globex", tickers=("GBX",))])


@dataclass(frozen=True)
class Window:
    topic: str
    start: int
    count: int
    negative: int


@dataclass(frozen=True)
class Surge:
    topic: str
    kind: str
    phase: str
    start: int
    at: int
    expected: float
    observed: float
    score: float
    alert_id: str


class ThresholdDetector:
    """Opens an alert for a window with 5 texts or more, or 5 negative ones, and closes it for one with less than 3."""

    def __init__(self, state=None):
        self.open = dict(state["open"]) if state else {}
        self.last = state["last"] if state else None

    def update(self, window):
        assert self.last is None or window.start > self.last, "windows come in order"
        self.last = window.start
        surges = []
        for kind, number in (("volume", window.count), ("negative_share", window.negative)):
            at = window.start + WINDOW
            opened = self.open.get(kind)
            if opened is None and number >= 5:
                opened = self.open[kind] = window.start
                surges.append(self._surge(window, kind, "opened", opened, at, number))
            elif opened is not None and number < 3:
                surges.append(self._surge(window, kind, "closed", opened, at, number))
                del self.open[kind]
        return surges

    def _surge(self, window, kind, phase, opened, at, number):
        return Surge(window.topic, kind, phase, opened, at, 1.0, number, 9.0, f"{window.topic}-{kind}-{opened}")

    def expectation(self, topic):
        return WindowExpectation(1.5, 0.5, {WINDOW: 5, 2 * WINDOW: 8})

    def state(self):
        return {"open": dict(self.open), "last": self.last}


class EqualTexts:
    """A text copies an earlier one of the last hour that is the same without regard to case."""

    def __init__(self, state=None, first_number=0):
        self.texts = deque(map(tuple, state["texts"])) if state else deque()
        self.next = state["next"] if state else first_number

    def add(self, text, time):
        self.next += 1
        while self.texts and self.texts[0][1] < time - 3600:
            self.texts.popleft()
        for number, _, earlier in self.texts:
            if earlier == text.casefold():
                return number
        self.texts.append((self.next - 1, time, text.casefold()))
        return None

    def state(self):
        return {"texts": list(self.texts), "next": self.next}


DETECTION = Detection(WINDOW, Window, ThresholdDetector, EqualTexts)


class WordClassifier:
    """Labels a text "bearish" if it has the word "sell"."""

    def __init__(self):
        self.num_texts = 0

    def classify(self, texts):
        self.num_texts += len(texts)
        labels = ["bearish" if "sell" in text.casefold() else "bullish" for text in texts]
        return [TextLabels((label,), (LabelScore(label, 1.0),)) for label in labels]


def text(seconds, content="acme rises", id=None, **values):
    """A text that was written `seconds` after START."""
    return StreamText(id or f"t{seconds}-{content}", content, START + seconds, "test", **values)


def open_test_pipeline(store):
    """A pipeline with the stand-ins, for recordings."""
    settings = PipelineSettings(WindowSettings(WINDOW, lateness_seconds=30.0), max_future_seconds=None)
    return MonitorPipeline(store, DETECTION, TOPICS, SentimentLabeller(WordClassifier()), settings, clock=lambda: START)


def random_stream(number, seed):
    """A stream with two topics, copies, repeated ids, late texts, quiet times and surges; a list of JSON records."""
    rng = random.Random(seed)
    records, seconds = [], 0.0
    for index in range(number):
        seconds += rng.choice([1, 2, 30, 90]) * rng.random() if rng.random() < 0.99 else 20_000
        topic = rng.choice(["acme", "GBX", "acme and GBX", "nothing"])
        content = rng.choice([f"{topic} moves {index}", f"{topic} sell {index}", f"{topic} to the moon"])
        records.append({
            "id": f"i{rng.randrange(index + 1)}" if rng.random() < 0.1 else f"n{index}",
            "text": content,
            "time": START + seconds - (rng.random() * 500 if rng.random() < 0.1 else 0),
        })  # fmt: skip
    return records


def tables(store):
    """Everything that is stored, but for the index of near copies, which is stored at a different time."""
    with store._database.read_transaction() as connection:
        names = [name for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'monitor%' AND name != 'monitor_states'"
            " AND name != 'monitor_text_ids' ORDER BY name"
        )]  # fmt: skip
        rows = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names}
        rows["ids"] = connection.execute("SELECT id FROM monitor_text_ids ORDER BY id").fetchall()
    return rows | {"states": {name: state for name, state in store.states().items() if name != "near_copies"}}
