"""A conversation store, and the chat REPL with scripted input."""

import io

import pytest
from rich.console import Console

from turnwise.cli.chat_repl import ChatRepl
from turnwise.store import open_store


@pytest.fixture
def store():
    store = open_store("sqlite:///:memory:")
    yield store
    store.close()


@pytest.fixture
def run_repl():
    """`run_repl(service, *lines)`: the REPL after these lines, and its output.

    An exception among the lines is raised, and a function is called for its line.
    """

    def run(service, *lines, **options):
        inputs = iter(lines)

        def read_line():
            line = next(inputs, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line() if callable(line) else line

        output = io.StringIO()
        console = Console(file=output, highlight=False, soft_wrap=True, emoji=False, width=100)
        repl = ChatRepl(service, read_line=read_line, console=console, **options)
        repl.run()
        return repl, output.getvalue()

    return run
