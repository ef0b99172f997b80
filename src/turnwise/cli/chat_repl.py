"""The chat REPL of the terminal: reads messages, streams the answers and runs slash commands."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape

from turnwise.cli.conversation_history import (
    find_conversation,
    last_answer,
    list_conversations,
    save_conversation,
)
from turnwise.cli.stream_answer import stream_answer
from turnwise.cli.terminal_input import line_reader
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import NotFound, TurnwiseError
from turnwise.core.feedback import NewFeedback, normalize_tags
from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.scenario import Scenario
from turnwise.core.stored_conversations import ConversationStore

COMMANDS = {
    "/help": "list the commands",
    "/reset": "start a new conversation",
    "/retry": "answer the last message again; the chat page shows both answers",
    "/edit TEXT": "replace your last message and answer it; both versions are stored",
    "/good": "rate the last answer as good",
    "/bad [REASON]": "rate the last answer as bad, with reasons such as wrong, too_long or unclear",
    "/correct TEXT": "say what the last answer should have been",
    "/list": "list the latest conversations, including those of the chat page",
    "/load NUMBER": "resume a conversation from the list; an id or a text in it works too",
    "/system TEXT": "start a new conversation with this system message",
    "/set NAME VALUE": "set a sampling parameter, such as /set temperature 0.2",
    "/history": "show the conversation",
    "/save FILE": "write the conversation as OpenAI messages (JSONL); --overwrite replaces a file",
    "/quit": "quit (also Ctrl-D)",
}
# Control characters except line breaks and tabs. Answers must not contain terminal escape sequences.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class ChatRepl:
    """A chat between one person and one model.

    Args:
        service: chat model.
        scenario: system prompt of every new conversation.
        sampling: sampling parameters.
        read_line: reads a line of input and raises EOFError at its end. Default: reads from the terminal.
        console: output. Default: standard output.
        resume: conversation to resume, as in `find_conversation`. Raises `NotFound`.
    """

    def __init__(
        self,
        service: ChatService,
        *,
        scenario: Scenario | None = None,
        sampling: Mapping[str, Any] | None = None,
        read_line: Callable[[], str] | None = None,
        console: Console | None = None,
        resume: str | None = None,
    ) -> None:
        self.service = service
        self.console = console or Console(highlight=False, soft_wrap=True, emoji=False)
        self._sampling = dict(sampling or {})
        self._scenario = scenario or Scenario()
        commands = [usage.split()[0] for usage in COMMANDS]
        # Without a conversation store, the lines typed are not stored either.
        self._read_line = read_line or line_reader(commands, save_history=service.store is not None)
        self.messages: list[Message] = []
        self._conversation_id: str | None = None
        self._reset()
        if resume is not None:
            self._load(resume)

    def run(self) -> None:
        """Read and answer messages until the user quits."""
        self.console.print(f"[bold]{escape(self.service.name)}[/bold]  [dim]/help for commands, Ctrl-D to quit[/dim]")
        with asyncio.Runner() as runner:
            while True:
                try:
                    line = self._read_line().strip()
                except KeyboardInterrupt:
                    continue  # Ctrl-C at the prompt discards the line
                except EOFError:
                    self.console.print("[dim]Goodbye.[/dim]")
                    return
                if line in ("/quit", "/exit"):
                    return
                if not line:
                    continue
                try:
                    if line.startswith("/"):
                        self._run_command(line, runner)
                    else:
                        self._answer([*self.messages, Message("user", line)], runner)
                except TurnwiseError as error:
                    self._print_error(error)

    def _print_raw(self, text: str) -> None:
        """Print a text without markup, wrapping and control characters."""
        self.console.out(text.translate(_CONTROLS), end="", highlight=False)

    def _print_message(self, message: Message) -> None:
        self.console.print(f"[bold]{message.role}[/bold]  ", end="")
        self._print_raw(message.content + "\n")

    def _print_error(self, error: TurnwiseError) -> None:
        self.console.print(f"[red]{escape(str(error))}[/red]")

    def _answer(self, messages: Sequence[Message], runner: asyncio.Runner) -> None:
        """Stream the answer to the messages. Ctrl-C stops it and keeps the text so far.

        If an error occurs before the first text, it is raised and the conversation does not change.
        """
        chunks: list[str] = []

        def write(chunk: str) -> None:
            chunks.append(chunk)
            self._print_raw(chunk)

        request = ChatRequest(tuple(messages), self._sampling, self._ensure_conversation(), preset="chat")
        try:
            for note in runner.run(stream_answer(self.service, request, write)):
                self.console.print(f"\n[dim]({note})[/dim]", end="")
        except KeyboardInterrupt:
            self.console.print(" [dim](stopped)[/dim]", end="")
        except TurnwiseError as error:
            if isinstance(error, NotFound):
                self._conversation_id = None  # the conversation was deleted; the next message creates a new one
            if not chunks:
                raise
            self.console.print()
            self._print_error(error)
        self.console.print("\n")
        self.messages = [*messages, *([Message("assistant", "".join(chunks))] if chunks else [])]

    def _ensure_conversation(self) -> str | None:
        """Id of the stored conversation, which is created for the first message; None without a store."""
        if self.service.store is None:
            return None
        if self._conversation_id is None:
            self._conversation_id = self.service.store.create(title="", model=self.service.name).id
        return self._conversation_id

    def _reset(self) -> None:
        self.messages = list(self._scenario.prepend_to([]))
        self._conversation_id = None

    def _run_command(self, line: str, runner: asyncio.Runner) -> None:
        command, _, argument = line.partition(" ")
        argument = argument.strip()
        if command == "/reset":
            self._reset()
            self.console.print("[dim]Started a new conversation.[/dim]")
        elif command == "/system" and argument:
            self._scenario = replace(self._scenario, system_prompt=argument)
            self._reset()
            self.console.print("[dim]Started a new conversation with this system message.[/dim]")
        elif command == "/retry":
            self._retry(runner)
        elif command == "/edit" and argument:
            self._edit(argument, runner)
        elif command == "/good":
            self._rate(NewFeedback(1))
        elif command == "/bad":
            self._rate(NewFeedback(-1, tags=normalize_tags(argument.replace(",", " ").split())))
        elif command == "/correct" and argument:
            self._rate(NewFeedback(correction=argument))
        elif command == "/list":
            for entry in list_conversations(self._store):
                self._print_raw(entry + "\n")
        elif command == "/load" and argument:
            self._load(argument)
        elif command == "/set" and argument:
            self._set(argument)
        elif command == "/history":
            for message in self.messages:
                self._print_message(message)
        elif command == "/save" and argument:
            path = save_conversation(self.messages, argument)
            self.console.print(f"[dim]Saved {len(self.messages)} messages to {escape(str(path))}.[/dim]")
        else:
            for usage, help in COMMANDS.items():
                self.console.print(f"  [bold]{usage:<17}[/bold] {help}")

    @property
    def _store(self) -> ConversationStore:
        if self.service.store is None:
            raise NotFound("Conversations are not stored, because the program was started with --store none.")
        return self.service.store

    def _rate(self, feedback: NewFeedback) -> None:
        """Store feedback on the last answer of this conversation."""
        if self._conversation_id is None:
            self.console.print("[dim]There is no answer to rate.[/dim]")
            return
        answer = last_answer(self._store.get(self._conversation_id))
        self._store.feedback.add(answer, feedback)
        self.console.print("[dim]Stored. `turnwise feedback list` lists the feedback.[/dim]")

    def _load(self, reference: str) -> None:
        """Continue a stored conversation from its head."""
        conversation = find_conversation(self._store, reference)
        self.messages = [stored.message for stored in conversation.messages]
        self._conversation_id = conversation.id
        self.console.print("[dim]Continuing:[/dim] ", end="")
        self._print_raw((conversation.title or conversation.id) + "\n")
        for message in self.messages[-2:]:
            self._print_message(message)

    def _edit(self, text: str, runner: asyncio.Runner) -> None:
        last = max((index for index, message in enumerate(self.messages) if message.role == "user"), default=None)
        if last is None:
            self.console.print("[dim]There is no message to edit.[/dim]")
        else:
            self._answer([*self.messages[:last], Message("user", text)], runner)

    def _retry(self, runner: asyncio.Runner) -> None:
        has_answer = bool(self.messages) and self.messages[-1].role == "assistant"
        messages = self.messages[:-1] if has_answer else self.messages
        if messages and messages[-1].role == "user":
            self._answer(messages, runner)
        else:
            self.console.print("[dim]There is no message to answer.[/dim]")

    def _set(self, assignment: str) -> None:
        """Set a sampling parameter, given as `NAME VALUE` or `NAME=VALUE`; the value is JSON or text."""
        name, *values = re.split(r"\s*=\s*|\s+", assignment, maxsplit=1)
        name, text = name.replace("-", "_"), " ".join(values)
        try:
            value: Any = json.loads(text)
        except json.JSONDecodeError:
            value = text
        sampling = {**self._sampling, name: value}
        GenerationParams.resolve(sampling)
        self._sampling = sampling
        self.console.print(f"[dim]{name} = {escape(str(value))}[/dim]")
