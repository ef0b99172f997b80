"""Reads lines from the terminal, with line editing, completion and history."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from turnwise.core.settings import Settings


def line_reader(commands: Sequence[str], *, save_history: bool) -> Callable[[], str]:
    """Return a function that reads one line. It raises EOFError at the end of the input.

    Without a terminal, lines are read from standard input as they are.

    Args:
        commands: words that are completed at the beginning of a line.
        save_history: store the lines in TURNWISE_HOME, for the next session.
    """
    if not sys.stdin.isatty():
        return lambda: input()
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    history: FileHistory | InMemoryHistory = InMemoryHistory()
    if save_history:
        path = Settings.from_environment().home / "history"
        with suppress(OSError):  # without a writable home the history lasts for the session only
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            history = FileHistory(str(path))
    completer = WordCompleter(list(commands), sentence=True)
    session: PromptSession[str] = PromptSession(history=history, completer=completer)
    return lambda: session.prompt("> ")
