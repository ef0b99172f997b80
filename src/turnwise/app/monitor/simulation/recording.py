"""Writes a simulated stream as a recording: JSON lines that a source of the monitor reads, and its topics."""

import json
from pathlib import Path

from turnwise.app.monitor.simulation.simulated_stream import SimulatedPost, SimulatedStream
from turnwise.core.files import atomic_file, atomic_write

POSTS, TOPICS = "posts.jsonl", "topics.yaml"  # names of the files


def write_recording(stream: SimulatedStream, folder: Path, days: int) -> int:
    """Write the posts of the last `days`, and the topic file, to a folder. Returns the number of posts.

    Raises:
        SaveFailed: a file cannot be written; an old file is unchanged.
    """
    topics = "".join(f"  - {{name: {json.dumps(name)}, words: [{json.dumps(name)}]}}\n" for name in stream.topics)
    atomic_write(folder / TOPICS, f"topics:\n{topics}")
    number = -1
    with atomic_file(folder / POSTS) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, post in enumerate(stream.posts(days)):
            file.write(_line(number, post))
    return number + 1


def _line(number: int, post: SimulatedPost) -> str:
    values = {"id": str(number), "time": post.time, "text": post.text, "sentiment": post.sentiment}
    return f"{json.dumps(values, ensure_ascii=False)}\n"
