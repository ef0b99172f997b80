"""A conversation in the terminal: prompt, streamed answer, a few slash commands."""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from turnwise.cli.conversation_history import find_conversation, list_conversations
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ContextReport
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import NotFound, TurnwiseError, UserError
from turnwise.core.files import atomic_write, path_exists
from turnwise.core.inference import FinishReason
from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.settings import Settings
from turnwise.core.stored_conversations import ConversationStore

COMMANDS = {
    "/help": "this list",
    "/reset": "forget the conversation and begin anew",
    "/retry": "answer the last message again; the old answer stays, as a version that the page can show",
    "/edit TEXT": "say something else in place of the last message; both stay",
    "/list": "the latest conversations, also those from the page",
    "/load NUMBER": "go on with one of them; an id or a word of it will do, too",
    "/system TEXT": "begin anew with this system message",
    "/set NAME VALUE": "change a sampling parameter, for instance /set temperature 0.2",
    "/history": "show the conversation so far",
    "/save FILE": "write the conversation as OpenAI-messages JSONL; --overwrite replaces a file",
    "/quit": "leave (Ctrl-D does, too)",
}
# A model may say anything, also what would command the terminal; line breaks and tabs are text.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


async def stream_answer(service: ChatService, turn: ChatRequest, write: Callable[[str], None]) -> list[str]:
    """Stream the answer to `write`; return remarks on it: what a context policy dropped, whether it was cut off."""
    context: ContextReport | None = None
    finish: FinishReason | None = None
    async with aclosing(service.stream(turn)) as deltas:
        async for delta in deltas:
            if delta.text:
                write(delta.text)
            context = delta.context or context
            finish = delta.finish_reason or finish
    remarks = [] if context is None else [context.description]
    return [*remarks, "cut off at the length limit"] if finish == "length" else remarks


def answer_once(service: ChatService, text: str, *, system: str | None, sampling: Mapping[str, Any]) -> None:
    """Print the answer to one message."""

    def write(piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()

    asyncio.run(
        stream_answer(service, ChatRequest((*_opening(system), Message("user", text)), sampling, preset="chat"), write)
    )
    sys.stdout.write("\n")


def _opening(system: str | None) -> tuple[Message, ...]:
    return (Message("system", system),) if system else ()


class ChatRepl:
    """One person and one model taking turns.

    Args:
        service: the model.
        system: a system message to begin every conversation with.
        asked: sampling parameters.
        read: asks the person for a line; raises EOFError when they leave. None asks in the terminal.
        resume: the conversation to go on with, as `find_conversation` takes it. Raises `NotFound`.
    """

    def __init__(
        self,
        service: ChatService,
        *,
        system: str | None = None,
        sampling: Mapping[str, Any] | None = None,
        read: Callable[[], str] | None = None,
        console: Console | None = None,
        resume: str | None = None,
    ) -> None:
        self.service = service
        self.console = console or Console(highlight=False, soft_wrap=True, emoji=False)
        self._sampling = dict(sampling or {})
        self._system = system
        self._read = read or _terminal_reader(save_history=service.store is not None)
        self.messages: list[Message] = []
        self._conversation: str | None = None
        self._reset()
        if resume is not None:
            self._load(resume)

    def run(self) -> None:
        """Take turns until the person leaves."""
        self.console.print(f"[bold]{escape(self.service.name)}[/bold]  [dim]/help for commands, Ctrl-D to leave[/dim]")
        with asyncio.Runner() as runner:
            while True:
                try:
                    line = self._read().strip()
                except KeyboardInterrupt:
                    continue  # an unfinished line is dropped, the talk is not
                except EOFError:
                    self.console.print("[dim]Goodbye.[/dim]")
                    return
                if line in ("/quit", "/exit"):
                    return
                if not line:
                    continue
                try:
                    if line.startswith("/"):
                        self._command(line, runner)
                    else:
                        self._answer([*self.messages, Message("user", line)], runner)
                except TurnwiseError as error:
                    self._report(error)

    def _show(self, text: str) -> None:
        """Text as it is: no markup, no wrapping, nothing that commands the terminal."""
        self.console.out(text.translate(_CONTROLS), end="", highlight=False)

    def _report(self, error: TurnwiseError) -> None:
        self.console.print(f"[red]{escape(str(error))}[/red]")

    def _answer(self, messages: Sequence[Message], runner: asyncio.Runner) -> None:
        """Stream the answer to these messages; Ctrl-C keeps what has been said so far.

        Where nothing could be said because of an error, the conversation is what it was before.
        """
        pieces: list[str] = []

        def write(piece: str) -> None:
            pieces.append(piece)
            self._show(piece)

        turn = ChatRequest(tuple(messages), self._sampling, self._kept(), preset="chat")
        try:
            for remark in runner.run(stream_answer(self.service, turn, write)):
                self.console.print(f"\n[dim]({remark})[/dim]", end="")
        except KeyboardInterrupt:
            self.console.print(" [dim](stopped)[/dim]", end="")
        except TurnwiseError as error:
            if isinstance(error, NotFound):
                self._conversation = None  # somebody deleted it; what is said from now on is kept anew
            if not pieces:
                raise
            self.console.print()
            self._report(error)
        self.console.print("\n")
        self.messages = [*messages, *([Message("assistant", "".join(pieces))] if pieces else [])]

    def _kept(self) -> str | None:
        """The conversation's place in the store, made with its first message."""
        if self.service.store is None:
            return None
        if self._conversation is None:
            self._conversation = self.service.store.create(title="", model=self.service.name).id
        return self._conversation

    def _reset(self) -> None:
        self.messages = list(_opening(self._system))
        self._conversation = None

    def _command(self, line: str, runner: asyncio.Runner) -> None:
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name == "/reset":
            self._reset()
            self.console.print("[dim]A new conversation.[/dim]")
        elif name == "/system" and rest:
            self._system = rest
            self._reset()
            self.console.print("[dim]A new conversation with this system message.[/dim]")
        elif name == "/retry":
            self._retry(runner)
        elif name == "/edit" and rest:
            self._edit(rest, runner)
        elif name == "/list":
            self._list()
        elif name == "/load" and rest:
            self._load(rest)
        elif name == "/set" and rest:
            self._set(rest)
        elif name == "/history":
            for message in self.messages:
                self.console.print(f"[bold]{message.role}[/bold]  ", end="")
                self._show(message.content + "\n")
        elif name == "/save" and rest:
            self._save(rest)
        else:
            for command, help in COMMANDS.items():
                self.console.print(f"  [bold]{command:<17}[/bold] {help}")

    @property
    def _store(self) -> ConversationStore:
        if self.service.store is None:
            raise NotFound("Conversations are not stored here: it was started with --store none.")
        return self.service.store

    def _list(self) -> None:
        for line in list_conversations(self._store):
            self._show(line + "\n")

    def _load(self, reference: str) -> None:
        """Go on with an earlier conversation, on the branch that is shown."""
        conversation = find_conversation(self._store, reference)
        self.messages, self._conversation = [stored.message for stored in conversation.messages], conversation.id
        self.console.print("[dim]Going on with:[/dim] ", end="")
        self._show((conversation.title or conversation.id) + "\n")
        for message in self.messages[-2:]:
            self.console.print(f"[bold]{message.role}[/bold]  ", end="")
            self._show(message.content + "\n")

    def _edit(self, text: str, runner: asyncio.Runner) -> None:
        last = max((i for i, message in enumerate(self.messages) if message.role == "user"), default=None)
        if last is None:
            self.console.print("[dim]There is nothing to edit yet.[/dim]")
        else:
            self._answer([*self.messages[:last], Message("user", text)], runner)

    def _retry(self, runner: asyncio.Runner) -> None:
        answered = bool(self.messages) and self.messages[-1].role == "assistant"
        sampling = self.messages[:-1] if answered else self.messages
        if sampling and sampling[-1].role == "user":
            self._answer(sampling, runner)
        else:
            self.console.print("[dim]There is nothing to answer yet.[/dim]")

    def _save(self, rest: str) -> None:
        where = rest.removesuffix("--overwrite").strip()
        try:
            path = Path(where).expanduser()
        except RuntimeError as error:  # "~nobody"
            raise UserError(f"Could not save to {where}: nobody here has that name.") from error
        if path_exists(path) and where == rest:
            raise UserError(f"Could not save to {path}: it exists already. To replace it: /save {where} --overwrite")
        if not path.parent.is_dir():
            raise UserError(f"Could not save to {path}: there is no folder {path.parent}. Make it first.")
        atomic_write(path, json.dumps({"messages": [m.as_dict() for m in self.messages]}, ensure_ascii=False) + "\n")
        self.console.print(f"[dim]Saved {len(self.messages)} messages to {escape(str(path))}.[/dim]")

    def _set(self, rest: str) -> None:
        name, *said = re.split(r"\s*=\s*|\s+", rest, maxsplit=1)
        name, value = name.replace("-", "_"), " ".join(said)
        try:
            parsed: Any = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        sampling = {**self._sampling, name: parsed}
        GenerationParams.resolve(sampling)
        self._sampling = sampling
        self.console.print(f"[dim]{name} = {escape(str(parsed))}[/dim]")


def _terminal_reader(*, save_history: bool) -> Callable[[], str]:
    """Line editing with history in a terminal, plain lines from a pipe.

    The history is kept in a file where `remember` is set: who keeps no conversations keeps no lines of them either.
    """
    if not sys.stdin.isatty():
        return lambda: input()
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    history: FileHistory | InMemoryHistory = InMemoryHistory()
    if save_history:
        path = Settings.from_environment().home / "history"
        with suppress(OSError):  # a home that cannot be written to is no reason not to talk
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            history = FileHistory(str(path))
    completer = WordCompleter([command.split()[0] for command in COMMANDS], sentence=True)
    session: PromptSession[str] = PromptSession(history=history, completer=completer)
    return lambda: session.prompt("> ")
