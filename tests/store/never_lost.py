"""Four clients use one conversation at once and are killed: every acknowledged message must be there afterwards.

    python tests/store/never_lost.py 10000 [SEED]

Each run forks processes that share one SQLite file: two tabs, a phone and a terminal. They send, edit, retry, stop,
disconnect and switch branches in random order, and report through a pipe what was acknowledged; all are killed with
SIGKILL at a random moment. Then the file is opened again: every reported message must be reachable from its branch's
first message, with its text, and SQLite's integrity check must pass. Every third run goes through the chat service.
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

CLIENTS = 4
LONGEST_RUN = 0.04  # seconds from the start of the clients to their end


class Client:
    """One tab: what it shows may be behind what is stored."""

    def __init__(
        self, store: ConversationStore, conversation_id: str, name: str, chance: random.Random, pipe: int
    ) -> None:
        self.store, self.id, self.name, self.chance, self.pipe = store, conversation_id, name, chance, pipe
        self.screen: list[Message] = []
        self.count = 0

    def acknowledge(self, texts: list[str]) -> None:
        """Report a branch whose messages are stored: one line, written at once."""
        os.write(self.pipe, ("\x1f".join(texts) + "\n").encode())

    def text(self) -> str:
        self.count += 1
        return f"{self.name}{self.count}"

    def next_messages(self) -> list[Message]:
        """What the client sends now: a new message, an edit, or the last question once more."""
        if self.chance.random() < 0.3:  # reload
            self.screen = [stored.message for stored in self.store.get(self.id).messages]
        answered = len(self.screen) - len(self.screen) % 2
        messages, act = self.screen[:answered], self.chance.random()
        if messages and act < 0.2:
            return messages[:-1]  # answer again
        if messages and act < 0.4:
            messages = messages[: 2 * self.chance.randrange(len(messages) // 2)]  # edit
        if act > 0.95:
            tree = self.store.get(self.id).tree
            if tree:
                self.store.select_branch(self.id, self.chance.choice(tree).id)
        return [*messages, Message("user", self.text())]

    def act(self) -> None:
        """One request straight to the store, as the recorder does it."""
        messages = self.next_messages()
        ids = self.store.ensure_branch(self.id, messages)
        self.acknowledge([message.content for message in messages])
        self.screen = messages
        if self.chance.random() < 0.2:
            return  # stopped before the first token
        written = self.text()
        (answer,) = self.store.append(
            self.id, [Message("assistant", written)], {"finish": "in_progress"}, parent_id=ids[-1]
        )
        if self.chance.random() < 0.8:
            self.store.update_message(answer, content=Message("assistant", written + " done"), meta={"finish": "stop"})
            self.screen = [*messages, Message("assistant", written + " done")]
            self.acknowledge([message.content for message in self.screen])

    async def chat(self) -> None:
        """One request through the chat service; some clients leave in the middle of the answer."""
        written, patience = self.text(), self.chance.choice((0, 1, 9, 9, 9))
        messages = self.next_messages()
        service = ScriptedChatService([written, " done"], store=self.store)
        heard = 0
        async with aclosing(service.stream(ChatRequest(tuple(messages), conversation_id=self.id))) as deltas:
            async for delta in deltas:
                if not heard:
                    self.acknowledge([message.content for message in messages])
                    self.screen = messages
                if delta.usage is not None:
                    self.screen = [*messages, Message("assistant", written + " done")]
                    self.acknowledge([message.content for message in self.screen])
                if heard >= patience:
                    break
                heard += 1

    def run(self, through_service: bool) -> None:
        """Act until killed."""
        while True:
            with suppress(TurnwiseError):
                if through_service:
                    asyncio.run(self.chat())
                else:
                    self.act()


def check(path: Path, conversation_id: str, acknowledged: list[list[str]]) -> None:
    """Raise AssertionError where something is lost."""
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()
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
    lost = [texts for texts in acknowledged if tuple(texts) not in branches and not _grew(texts, branches)]
    assert not lost, f"lost: {lost[0]}"


def _grew(texts: list[str], branches: set[tuple[str, ...]]) -> bool:
    """Whether a branch has these messages, with answers that somebody saw while they were written."""
    return any(
        len(branch) == len(texts)
        and all(b == t if i % 2 == 0 else b.startswith(t) for i, (b, t) in enumerate(zip(branch, texts, strict=True)))
        for branch in branches
    )


def one_run(folder: Path, seed: int) -> int:
    """One conversation, four clients, one violent end; how many branches were acknowledged."""
    chance = random.Random(seed)
    path = folder / f"{seed}.db"
    store = open_store(f"sqlite:///{path}")
    conversation_id = store.create(title="t", model="m").id
    store.close()
    acknowledged: list[list[str]] = []
    for round_number in range(chance.choice((1, 1, 2))):  # the second time they go on with what the first left
        pipes, children = [], []
        for number in range(CLIENTS):
            ours, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(ours)
                with suppress(BaseException):
                    own = random.Random(f"{seed} {number} {round_number}")
                    name = f"{'abcd'[number]}{round_number}."
                    Client(open_store(f"sqlite:///{path}"), conversation_id, name, own, theirs).run(seed % 3 == 0)
                os._exit(1)
            os.close(theirs)
            pipes.append(ours)
            children.append(child)
        time.sleep(chance.random() * LONGEST_RUN)
        chance.shuffle(children)
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status), "a client failed by itself"
        for pipe in pipes:
            with os.fdopen(pipe) as lines:
                acknowledged += [line[:-1].split("\x1f") for line in lines if line.endswith("\n")]
        check(path, conversation_id, acknowledged)
    for file in folder.glob(f"{seed}.db*"):
        file.unlink()
    return len(acknowledged)


def main(runs: int, seed: int = 0) -> None:
    """So many runs; prints what was checked."""
    memory = Path("/dev/shm")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        branches = sum(one_run(Path(folder), number) for number in range(seed, seed + runs))
    print(f"{runs} runs, {branches} acknowledged branches, none lost, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
