"""The chat REPL with scripted input and a scripted model, and the real program in a pseudo-terminal."""

import io
import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from turnwise.cli.chat_repl import COMMANDS, ChatRepl
from turnwise.core.chat_response import ContextReport
from turnwise.core.errors import ContextLengthExceeded, NotFound, TurnwiseError
from turnwise.core.messages import Message
from turnwise.core.scenario import Scenario
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService

pytestmark = pytest.mark.timeout(60)
KIND = Scenario(system_prompt="Be kind.")


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


def echo(request):
    """A script that answers with the number of messages and the last one in upper case."""
    yield f"{len(request.messages)}: "
    yield request.messages[-1].content.upper()


def contents(messages):
    return [f"{message.role}: {message.content}" for message in messages]


def stored_messages(store):
    """Messages of the only stored conversation."""
    (conversation,) = store.list()
    return [entry.message for entry in store.get(conversation.id).messages]


def test_messages_are_answered_until_the_input_ends(run_repl):
    repl, output = run_repl(ScriptedChatService(echo), "hello", "  ", "and you?")
    assert contents(repl.messages) == ["user: hello", "assistant: 1: HELLO", "user: and you?", "assistant: 3: AND YOU?"]
    assert "1: HELLO\n\n3: AND YOU?\n\nGoodbye." in output


@pytest.mark.parametrize("line", ["/quit", "/exit"])
def test_quit_and_exit_end_the_program(run_repl, line):
    assert run_repl(ScriptedChatService(echo), line, "not heard")[0].messages == []


def test_answers_are_rated_and_corrected(run_repl, store):
    _, output = run_repl(
        ScriptedChatService(echo, store=store), "/good", "hello", "/good", "/bad too_long, my_reason", "/correct Hi.",
        "/bad no/tag",
    )  # fmt: skip
    assert "There is no answer to rate." in output
    assert "'no/tag' is not a tag" in output
    contents = [entry.content for entry in store.feedback.list()[0]]
    assert [(content.rating, content.tags, content.correction) for content in contents] == [
        (1, (), None), (-1, ("too_long", "my_reason"), None), (None, (), "Hi."),
    ]  # fmt: skip
    (collected,) = store.collected_answers.answers()
    assert (collected.answer.content, collected.preferred[0].answer.content) == ("1: HELLO", "Hi.")


def test_ctrl_c_at_the_prompt_discards_the_line_only(run_repl):
    assert len(run_repl(ScriptedChatService(echo), KeyboardInterrupt(), "hello")[0].messages) == 2


def test_ctrl_c_stops_the_answer_and_keeps_its_text(run_repl, store):
    def interrupted(request):
        yield "The lamp"
        if len(request.messages) == 1:
            signal.raise_signal(signal.SIGINT)
            while True:
                yield " and so on"
        yield " again"

    service = ScriptedChatService(interrupted, store=store)
    repl, output = run_repl(service, "hello", "go on")
    assert service.num_cancelled == 1
    assert "The lamp (stopped)\n" in output.replace(" and so on", "")
    first = repl.messages[1].content
    assert first.startswith("The lamp")
    assert contents(repl.messages)[2:] == ["user: go on", "assistant: The lamp again"]
    assert stored_messages(store) == repl.messages


def test_answers_are_printed_without_markup_and_control_characters(run_repl):
    text = "[red]no markup[/red] :smile: [/] \x1b[2J\x07\ttab\nline \\"
    repl, output = run_repl(ScriptedChatService([text]), "hello", "/history")
    assert repl.messages[-1].content == text
    assert output.count("[red]no markup[/red] :smile: [/] [2J") == 2
    assert "\x1b" not in output
    assert output.count("tab\nline \\\n") == 2


@pytest.mark.parametrize("dropped", [1, 4])
def test_dropped_messages_are_reported_after_the_answer(run_repl, dropped):
    repl, output = run_repl(ScriptedChatService(["Yes."], context=ContextReport("drop_oldest", dropped)), "hello")
    subject = "1 older message was" if dropped == 1 else "4 older messages were"
    assert f"Yes.\n({subject} left out)\n\n" in output
    assert repl.messages[-1].content == "Yes."


# Commands


def test_an_unknown_or_incomplete_command_lists_the_commands(run_repl):
    for line in ("/help", "/unknown", "/system", "/set", "/save"):
        output = run_repl(ScriptedChatService(echo), line)[1]
        assert all(f"  {command} " in output for command in COMMANDS)


def test_reset_starts_a_new_conversation_with_the_same_system_message(run_repl, store):
    repl, _ = run_repl(ScriptedChatService(echo, store=store), "hello", "/reset", "again", scenario=KIND)
    assert contents(repl.messages) == ["system: Be kind.", "user: again", "assistant: 2: AGAIN"]
    assert len(store.list()) == 2


def test_system_starts_a_new_conversation_with_another_system_message(run_repl):
    repl, _ = run_repl(ScriptedChatService(echo), "hello", "/system You are terse.", "hi", scenario=KIND)
    assert contents(repl.messages) == ["system: You are terse.", "user: hi", "assistant: 2: HI"]


def test_retry_answers_the_last_message_again(run_repl, store):
    numbers = itertools.count()
    service = ScriptedChatService(lambda request: [f"{request.messages[-1].content} {next(numbers)}"], store=store)
    repl, _ = run_repl(service, "/retry", "hello", "/retry", "/retry")
    assert contents(repl.messages) == ["user: hello", "assistant: hello 2"]
    assert stored_messages(store) == repl.messages


def test_retry_without_a_user_message_reports_it(run_repl):
    assert "There is no message to answer" in run_repl(ScriptedChatService(echo), "/retry", scenario=KIND)[1]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("temperature 0.2", "temperature", 0.2),
        ("temperature=0.2", "temperature", 0.2),
        ("temperature  =  0.2", "temperature", 0.2),
        ("top-k 5", "top_k", 5),
        ("seed null", "seed", None),
        ("stop a=b", "stop", "a=b"),
        ("stop [/INST]", "stop", "[/INST]"),
        ('stop ["a", "b"]', "stop", ["a", "b"]),
    ],
)
def test_set_changes_a_parameter_of_the_next_answer(run_repl, line, name, value):
    service = ScriptedChatService(echo)
    _, output = run_repl(service, "hello", f"/set {line}", "again", sampling={"max_tokens": 9})
    assert service.requests[0].sampling == {"max_tokens": 9}
    assert service.requests[1].sampling == {"max_tokens": 9, name: value}
    assert f"{name} = {value}" in output


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("temperature 9", "'temperature' must be between 0 and 2, got 9."),
        ("temperature", "'temperature' must be a number"),
        ("temperature warm", "'temperature' must be a number"),
        ("top_p NaN", "'top_p' must be between 0"),
        ("max_tokens Infinity", "'max_tokens' must be a whole number"),
        ("warmth 1", "Unknown parameter 'warmth'"),
        ("topp 1", "did you mean 'top_p'?"),
    ],
)
def test_set_rejects_an_invalid_parameter_and_changes_nothing(run_repl, line, message):
    service = ScriptedChatService(echo)
    _, output = run_repl(service, f"/set {line}", "hello")
    assert message in output
    assert service.requests[0].sampling == {}


def test_history_shows_all_messages_with_their_roles(run_repl):
    output = run_repl(ScriptedChatService(echo), "hello", "/history", scenario=KIND)[1]
    assert "system  Be kind.\nuser  hello\nassistant  2: HELLO\n" in output


def test_save_writes_a_row_that_training_reads(run_repl, tmp_path):
    from turnwise.data.sources import read_source

    path = tmp_path / "chat.jsonl"
    repl, output = run_repl(ScriptedChatService(["Grüße 🚚"]), "hello", f"/save {path}")
    assert f"Saved 2 messages to {path}." in output
    assert json.loads(path.read_text()) == {"messages": [message.as_dict() for message in repl.messages]}
    (conversation,) = read_source(path)
    assert list(conversation.messages) == repl.messages


def test_save_replaces_a_file_only_with_overwrite(run_repl, tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text("precious")
    _, output = run_repl(ScriptedChatService(echo), "hello", f"/save {path}")
    assert f"the file exists. To replace it: /save {path} --overwrite" in output
    assert path.read_text() == "precious"
    run_repl(ScriptedChatService(echo), "hello", f"/save {path} --overwrite")
    assert json.loads(path.read_text())["messages"][0]["content"] == "hello"


def test_save_creates_no_folder(run_repl, tmp_path):
    _, output = run_repl(ScriptedChatService(echo), "hello", f"/save {tmp_path}/new/chat.jsonl")
    assert f"there is no folder {tmp_path}/new. Create it first." in output
    assert not (tmp_path / "new").exists()


def test_a_path_that_cannot_be_written_is_reported_and_the_chat_continues(run_repl, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    paths = [
        "/proc/chat.jsonl",
        tmp_path,
        tmp_path / "file" / "chat.jsonl",
        "~no-such-person/chat.jsonl",
        tmp_path / ("x" * 300),
    ]
    repl, output = run_repl(ScriptedChatService(echo), "hello", *(f"/save {path}" for path in paths), "still there?")
    assert output.count("Could not") == len(paths)
    assert len(repl.messages) == 4


def test_a_full_disk_is_reported_and_the_chat_continues(run_repl, tmp_path, monkeypatch):
    def raise_disk_full(handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "chat.jsonl"
    path.write_text("earlier content")
    monkeypatch.setattr("turnwise.core.files.os.fsync", raise_disk_full)
    repl, output = run_repl(ScriptedChatService(echo), "hello", f"/save {path} --overwrite", "still there?")
    assert "No space left on device. Nothing was changed." in output
    assert path.read_text() == "earlier content"
    assert list(tmp_path.iterdir()) == [path]
    assert len(repl.messages) == 4


# Failure


@pytest.mark.parametrize("lines", [["hello"], ["hello", "/retry"]])
def test_an_error_before_the_first_text_leaves_the_conversation_unchanged(run_repl, lines):
    service = ScriptedChatService(echo)

    def fail_from_now_on():
        service._fail_after, service._failure = 0, ContextLengthExceeded("It does not fit.")
        return lines[-1]

    repl, output = run_repl(service, *lines[:-1], fail_from_now_on)
    assert "It does not fit." in output
    assert contents(repl.messages) == ([] if len(lines) == 1 else ["user: hello", "assistant: 1: HELLO"])


def test_text_before_an_error_is_kept(run_repl):
    service = ScriptedChatService(echo, fail_after=1, failure=TurnwiseError("It melted."))
    repl, output = run_repl(service, "hello")
    assert "1: \nIt melted.\n" in output
    assert contents(repl.messages) == ["user: hello", "assistant: 1: "]


def test_a_deleted_conversation_is_stored_again_under_a_new_id(run_repl, store):
    def delete():
        (conversation,) = store.list()
        store.delete(conversation.id)
        return "lost"

    repl, output = run_repl(ScriptedChatService(echo, store=store), "hello", delete, "again")
    assert "may have been deleted" in output
    assert stored_messages(store) == repl.messages
    assert repl.messages[2] == Message("user", "again")


# The real program in a real terminal

PROGRAM = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from turnwise.cli.main import main
main()
"""


PROMPT = b"\x1b[0m>\x1b[0m"  # with the escape sequences of prompt_toolkit


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, *arguments):
        self.terminal, program_side = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            stdin=program_side, stdout=program_side, stderr=program_side, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        os.close(program_side)
        os.set_blocking(self.terminal, False)
        self.output = b""

    def type(self, text):
        self.output = b""
        os.write(self.terminal, text.encode())

    def wait_until(self, condition, seconds=180):
        deadline = time.monotonic() + seconds
        while not condition(self.output):
            assert time.monotonic() < deadline, self.output[-500:]
            try:
                self.output += os.read(self.terminal, 65536)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # the program has exited
                return

    def wait(self):
        self.wait_until(lambda _: self.process.poll() is not None)
        os.close(self.terminal)
        return self.process.wait(5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_a_terminal_ctrl_c_stops_the_answer_and_ctrl_d_quits(talkative_folder, tmp_path):
    terminal = Terminal("chat", talkative_folder, "--temperature", "0")
    try:
        terminal.wait_until(lambda output: PROMPT in output)
        terminal.type("hello\r")
        terminal.wait_until(lambda output: len(output) > 400)
        terminal.type("\x03")
        terminal.wait_until(lambda output: PROMPT in output.partition(b"(stopped)")[2])
        terminal.type("/history\r")
        terminal.wait_until(lambda output: PROMPT in output.partition(b"assistant")[2])
        terminal.type("\x04")
        assert terminal.wait() == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
    assert b"Goodbye." in terminal.output
    assert b"Traceback" not in terminal.output
    history = tmp_path / "home" / "history"
    assert "+hello" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


# Stored conversations


@pytest.fixture
def two_conversations(store):
    """Two stored conversations, the one about lamps the latest."""
    for title in ("Tea", "Lamps"):
        id = store.create(title=title, model="scripted").id
        store.ensure_branch(id, [Message("user", f"{title}?"), Message("assistant", f"{title}!")])
    return store


@pytest.mark.parametrize("reference", ["last", "1", "lamps?", "id"])
def test_a_stored_conversation_is_resumed_by_any_reference(run_repl, two_conversations, reference):
    conversation = two_conversations.list()[0]
    repl, output = run_repl(
        ScriptedChatService(echo, store=two_conversations),
        "more",
        resume=conversation.id if reference == "id" else reference,
    )
    assert "Continuing: Lamps\nuser  Lamps?\nassistant  Lamps!\n" in output
    assert contents(repl.messages) == ["user: Lamps?", "assistant: Lamps!", "user: more", "assistant: 3: MORE"]
    assert [entry.message for entry in two_conversations.get(conversation.id).messages] == repl.messages
    assert len(two_conversations.list()) == 2


def test_conversations_are_listed_and_loaded(run_repl, two_conversations):
    repl, output = run_repl(
        ScriptedChatService(echo, store=two_conversations), "/list", "/load 2", "/load nonsense", "more"
    )
    assert [line.split("  ")[-1] for line in output.splitlines() if line.startswith("  ") and ":" in line] == [
        "Lamps",
        "Tea",
    ]
    assert "No conversation contains 'nonsense'." in output
    assert contents(repl.messages)[:3] == ["user: Tea?", "assistant: Tea!", "user: more"]


def test_resuming_without_a_stored_conversation_is_an_error(run_repl, store):
    with pytest.raises(NotFound, match="no stored conversation"):
        run_repl(ScriptedChatService(echo, store=store), resume="last")
    assert "Conversations are not stored" in run_repl(ScriptedChatService(echo), "/list")[1]


def test_edits_and_retries_are_stored_as_branches(run_repl, store):
    repl, _ = run_repl(ScriptedChatService(echo, store=store), "/edit x", "hello", "/edit good evening", "/retry")
    assert contents(repl.messages) == ["user: good evening", "assistant: 1: GOOD EVENING"]
    (conversation,) = store.list()
    assert [entry.message.content for entry in store.get(conversation.id).tree] == [
        "hello", "1: HELLO", "good evening", "1: GOOD EVENING", "1: GOOD EVENING",
    ]  # fmt: skip
