"""Measures how long collected answers take to read: python benchmarks/collected_answers.py [MESSAGES]."""

import sys
import tempfile
import time
from pathlib import Path

from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.store.sqlite.conversation_store import SqliteConversationStore

EXCHANGES = 10  # of a conversation
REGENERATED_EVERY, RATED_EVERY = 50, 20  # exchanges


def fill(store: SqliteConversationStore, num_messages: int) -> None:
    """Store conversations with a regenerated answer in 2 % and a rating on 5 % of the exchanges."""
    meta = {"finish": "stop", "model": "m", "consent": "full", "mean_logprob": -0.5}
    number = 0
    while number < num_messages:
        id = store.create(title="t", model="m").id
        parent = None
        for _ in range(EXCHANGES):
            texts = f"How do I cancel order {number}?", f"Open the order {number} and choose 'Cancel'." * 3
            (parent,) = store.append(id, [Message("user", texts[0])], {"consent": "full"}, parent_id=parent)
            if number % (2 * REGENERATED_EVERY) == 0:
                store.append(id, [Message("assistant", "I do not know.")], meta, parent_id=parent)
            (parent,) = store.append(id, [Message("assistant", texts[1])], meta, parent_id=parent)
            if number % (2 * RATED_EVERY) == 0:
                store.feedback.add(AnswerReference("message", parent), NewFeedback(-1, "Better."))
            number += 2


def main() -> None:
    """Print the times."""
    num_messages = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteConversationStore(Path(folder) / "chats.db")
        store._database._connection.execute("PRAGMA synchronous = OFF")  # only the reads are measured
        fill(store, num_messages)
        now = time.time()
        reader = store.collected_answers
        for name, read in (
            ("all answers", lambda: sum(1 for _ in reader.answers())),
            ("first answer", lambda: next(iter(reader.answers())).id),
            ("answers since now", lambda: sum(1 for _ in reader.answers(since=now))),
            ("contributors", lambda: len(reader.contributors())),
            ("ratings by version", lambda: dict(store.feedback.count_ratings("m"))),
        ):
            start = time.perf_counter()
            result = read()
            print(f"{name:20} {time.perf_counter() - start:7.3f} s   {result}")
        store.close()


if __name__ == "__main__":
    main()
