"""Reads sources to their end."""

import json
import time

from turnwise.app.monitor.sources.text_records import TextRecords

RECORDS = TextRecords("s", clock=lambda: 99.0)


def read_batch(source, position=None, limit=9):
    """The next batch, after the request of a source that waits for one."""
    while (batch := source.read(position, limit)).is_waiting:
        time.sleep(0.002)
    return batch


def read_all(source, position=None, limit=2):
    """Texts up to the end of what the source has, and the position."""
    texts = []
    while True:
        batch = read_batch(source, position, limit)
        source.confirm(batch.position)
        texts += batch.texts
        position = json.loads(json.dumps(batch.position))  # as the store keeps it
        if not batch.has_more:
            return texts, position


def contents(texts):
    return [text.text for text in texts]


def append(path, content):
    with path.open("ab") as file:
        file.write(content)
