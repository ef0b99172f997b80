"""Durability test: four clients share one conversation and are killed; no acknowledged message may be lost.

    python tests/store/never_lost.py 10000 [SEED]

Each run forks four client processes that share one SQLite file. They send, edit, retry, stop, disconnect and switch
branches in random order, and report acknowledged branches through a pipe. All are killed with SIGKILL at a random
moment. Then the file is opened again: every reported branch must exist with its texts, and SQLite's integrity check
must pass. In every third run the requests go through the chat service.
"""

import asyncio
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import aclosing, suppress
from pathlib import Path

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import TurnwiseError
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import ConversationStore
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService

NUM_CLIENTS = 4
MAX_RUN_SECONDS = 0.04  # from the start of the clients to SIGKILL


class Client:
    """A client of the conversation; the messages that it shows may be older than the stored ones."""

    def __init__(
        self, store: ConversationStore, conversation_id: str, name: str, rng: random.Random, pipe: int
    ) -> None:
        self.store, self.id, self.name, self.rng, self.pipe = store, conversation_id, name, rng, pipe
        self.shown: list[Message] = []
        self.num_texts = 0

    def acknowledge(self, texts: list[str]) -> None:
        """Report a stored branch as one line, in a single write."""
        os.write(self.pipe, ("\x1f".join(texts) + "\n").encode())

    def new_text(self) -> str:
        """A text that is unique in the conversation."""
        self.num_texts += 1
        return f"{self.name}{self.num_texts}"

    def next_messages(self) -> list[Message]:
        """The messages of the next request: a new message, an edit, or a retry."""
        if self.rng.random() < 0.3:  # reload
            self.shown = [stored.message for stored in self.store.get(self.id).messages]
        num_answered = len(self.shown) - len(self.shown) % 2
        messages, action = self.shown[:num_answered], self.rng.random()
        if messages and action < 0.2:
            return messages[:-1]  # retry
        if messages and action < 0.4:
            messages = messages[: 2 * self.rng.randrange(len(messages) // 2)]  # edit
        if action > 0.95:  # switch branches
            tree = self.store.get(self.id).tree
            if tree:
                self.store.select_branch(self.id, self.rng.choice(tree).id)
        return [*messages, Message("user", self.new_text())]

    def request_store(self) -> None:
        """Make one request with direct calls of the store, as `ConversationRecorder` does."""
        messages = self.next_messages()
        ids = self.store.ensure_branch(self.id, messages)
        self.acknowledge([message.content for message in messages])
        self.shown = messages
        if self.rng.random() < 0.2:
            return  # stopped before the first token
        response = self.new_text()
        (response_id,) = self.store.append(
            self.id, [Message("assistant", response)], {"finish": "in_progress"}, parent_id=ids[-1]
        )
        if self.rng.random() < 0.8:
            self.store.update_message(
                response_id, content=Message("assistant", response + " done"), meta={"finish": "stop"}
            )
            self.shown = [*messages, Message("assistant", response + " done")]
            self.acknowledge([message.content for message in self.shown])

    async def request_service(self) -> None:
        """Make one request through the chat service; some clients disconnect during the response."""
        response, max_deltas = self.new_text(), self.rng.choice((0, 1, 9, 9, 9))
        messages = self.next_messages()
        service = ScriptedChatService([response, " done"], store=self.store)
        num_deltas = 0
        async with aclosing(service.stream(ChatRequest(tuple(messages), conversation_id=self.id))) as deltas:
            async for delta in deltas:
                if not num_deltas:
                    self.acknowledge([message.content for message in messages])
                    self.shown = messages
                if delta.usage is not None:
                    self.shown = [*messages, Message("assistant", response + " done")]
                    self.acknowledge([message.content for message in self.shown])
                if num_deltas >= max_deltas:
                    break
                num_deltas += 1

    def run(self, through_service: bool) -> None:
        """Make requests until the process is killed."""
        while True:
            with suppress(TurnwiseError):
                if through_service:
                    asyncio.run(self.request_service())
                else:
                    self.request_store()


def check(path: Path, conversation_id: str, acknowledged: list[list[str]]) -> None:
    """Raise `AssertionError` if an acknowledged branch is lost."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    store = open_store(f"sqlite:///{path}")
    tree = {stored.id: stored for stored in store.get(conversation_id).tree}
    branches = set()
    for stored in tree.values():
        texts, node = [], stored
        while True:
            texts.append(node.message.content)
            if node.parent_id is None:
                break
            node = tree[node.parent_id]
        assert len(texts) == len(set(texts)), "a branch repeats a message"
        branches.add(tuple(reversed(texts)))
    store.close()
    lost = [
        texts for texts in acknowledged if tuple(texts) not in branches and not _has_longer_responses(texts, branches)
    ]
    assert not lost, f"lost: {lost[0]}"


def _has_longer_responses(texts: list[str], branches: set[tuple[str, ...]]) -> bool:
    """Whether a branch has these messages, with responses that have grown since a client saw them."""
    return any(
        len(branch) == len(texts)
        and all(
            stored == text if i % 2 == 0 else stored.startswith(text)
            for i, (stored, text) in enumerate(zip(branch, texts, strict=True))
        )
        for branch in branches
    )


def run_clients(folder: Path, seed: int) -> int:
    """Run and kill the clients of one conversation. Returns the number of acknowledged branches."""
    rng = random.Random(seed)
    path = folder / f"{seed}.db"
    store = open_store(f"sqlite:///{path}")
    conversation_id = store.create(title="t", model="m").id
    store.close()
    acknowledged: list[list[str]] = []
    for round_number in range(rng.choice((1, 1, 2))):  # a second round continues with the stored conversation
        pipes, children = [], []
        for number in range(NUM_CLIENTS):
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(read_end)
                with suppress(BaseException):
                    client_rng = random.Random(f"{seed} {number} {round_number}")
                    name = f"{'abcd'[number]}{round_number}."
                    Client(open_store(f"sqlite:///{path}"), conversation_id, name, client_rng, write_end).run(
                        seed % 3 == 0
                    )
                os._exit(1)
            os.close(write_end)
            pipes.append(read_end)
            children.append(child)
        time.sleep(rng.random() * MAX_RUN_SECONDS)
        rng.shuffle(children)
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status), "a client ended with an error"
        for pipe in pipes:
            with os.fdopen(pipe) as lines:
                acknowledged += [line[:-1].split("\x1f") for line in lines if line.endswith("\n")]
        check(path, conversation_id, acknowledged)
    for file in folder.glob(f"{seed}.db*"):
        file.unlink()
    return len(acknowledged)


def main(runs: int, seed: int = 0) -> None:
    """Do `runs` runs and print a summary."""
    memory = Path("/dev/shm")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        branches = sum(run_clients(Path(folder), number) for number in range(seed, seed + runs))
    print(f"{runs} runs, {branches} acknowledged branches, none lost, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
