"""A conversation in the terminal, with a scripted person on one side and a scripted model on the other."""

import io
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
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def store():
    store = open_store("sqlite:///:memory:")
    yield store
    store.close()


@pytest.fixture
def talk():
    """`talk(service, *lines)`: the talk after these lines and what the terminal showed. An exception is raised."""

    def run(service, *lines, **more):
        said = iter(lines)

        def read():
            line = next(said, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line() if callable(line) else line

        shown = io.StringIO()
        console = Console(file=shown, highlight=False, soft_wrap=True, emoji=False, width=100)
        one = ChatRepl(service, read=read, console=console, **more)
        one.run()
        return one, shown.getvalue()

    return run


def words(turn):
    """Says how often it was asked and what."""
    yield f"{len(turn.messages)}: "
    yield turn.messages[-1].content.upper()


def contents(messages):
    return [f"{message.role}: {message.content}" for message in messages]


def test_turns_are_taken_until_the_person_leaves(talk):
    one, shown = talk(ScriptedChatService(words), "hello", "  ", "and you?")
    assert contents(one.messages) == ["user: hello", "assistant: 1: HELLO", "user: and you?", "assistant: 3: AND YOU?"]
    assert "1: HELLO\n\n3: AND YOU?\n\nGoodbye." in shown


@pytest.mark.parametrize("line", ["/quit", "/exit"])
def test_leaving_by_command(talk, line):
    assert talk(ScriptedChatService(words), line, "not heard")[0].messages == []


def test_ctrl_c_at_the_prompt_drops_the_line_and_not_the_talk(talk):
    assert len(talk(ScriptedChatService(words), KeyboardInterrupt(), "hello")[0].messages) == 2


def test_ctrl_c_during_an_answer_stops_the_answer(talk, store):
    def interrupted(turn):
        yield "The lamp"
        if len(turn.messages) == 1:
            signal.raise_signal(signal.SIGINT)
            while True:
                yield " and so on"
        yield " again"

    service = ScriptedChatService(interrupted, store=store)
    one, shown = talk(service, "hello", "go on")
    assert service.num_cancelled == 1
    assert "The lamp (stopped)\n" in shown.replace(" and so on", "")
    first = one.messages[1].content
    assert first.startswith("The lamp")
    assert contents(one.messages)[2:] == ["user: go on", "assistant: The lamp again"]
    (kept,) = store.list()
    assert [entry.message for entry in store.get(kept.id).messages] == one.messages


def test_what_a_model_says_is_shown_as_it_is_but_commands_no_terminal(talk):
    said = "[red]no markup[/red] :smile: [/] \x1b[2J\x07\ttab\nline \\"
    one, shown = talk(ScriptedChatService([said]), "hello", "/history")
    assert one.messages[-1].content == said
    assert shown.count("[red]no markup[/red] :smile: [/] [2J") == 2
    assert "\x1b" not in shown
    assert shown.count("tab\nline \\\n") == 2


@pytest.mark.parametrize("dropped", [1, 4])
def test_what_a_context_policy_did_is_said_under_the_answer(talk, dropped):
    one, shown = talk(ScriptedChatService(["Yes."], context=ContextReport("drop_oldest", dropped)), "hello")
    many = "1 older message was" if dropped == 1 else "4 older messages were"
    assert f"Yes.\n({many} left out)\n\n" in shown
    assert one.messages[-1].content == "Yes."


# Commands


def test_anything_unknown_lists_the_commands(talk):
    for line in ("/help", "/wat", "/system", "/set", "/save"):
        shown = talk(ScriptedChatService(words), line)[1]
        assert all(f"  {command} " in shown for command in COMMANDS)


def test_reset_forgets_and_keeps_the_system_message(talk, store):
    one, _ = talk(ScriptedChatService(words, store=store), "hello", "/reset", "again", system="Be kind.")
    assert contents(one.messages) == ["system: Be kind.", "user: again", "assistant: 2: AGAIN"]
    assert len(store.list()) == 2


def test_system_begins_anew(talk):
    one, _ = talk(ScriptedChatService(words), "hello", "/system You are terse.", "hi", system="Be kind.")
    assert contents(one.messages) == ["system: You are terse.", "user: hi", "assistant: 2: HI"]


def test_retry_answers_the_last_message_again(talk, store):
    counted = iter(range(10))
    service = ScriptedChatService(lambda turn: [f"{turn.messages[-1].content} {next(counted)}"], store=store)
    one, _ = talk(service, "/retry", "hello", "/retry", "/retry")
    assert contents(one.messages) == ["user: hello", "assistant: hello 2"]
    (kept,) = store.list()
    assert [entry.message for entry in store.get(kept.id).messages] == one.messages


def test_retry_with_nothing_to_answer(talk):
    assert "nothing to answer" in talk(ScriptedChatService(words), "/retry", system="Be kind.")[1]


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
def test_set_changes_a_parameter_from_the_next_answer_on(talk, line, name, value):
    service = ScriptedChatService(words)
    _, shown = talk(service, "hello", f"/set {line}", "again", sampling={"max_tokens": 9})
    assert service.requests[0].sampling == {"max_tokens": 9}
    assert service.requests[1].sampling == {"max_tokens": 9, name: value}
    assert f"{name} = {value}" in shown


@pytest.mark.parametrize(
    ("line", "complaint"),
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
def test_set_refuses_what_is_wrong_and_changes_nothing(talk, line, complaint):
    service = ScriptedChatService(words)
    _, shown = talk(service, f"/set {line}", "hello")
    assert complaint in shown
    assert service.requests[0].sampling == {}


def test_history_shows_who_said_what(talk):
    shown = talk(ScriptedChatService(words), "hello", "/history", system="Be kind.")[1]
    assert "system  Be kind.\nuser  hello\nassistant  2: HELLO\n" in shown


def test_save_writes_a_row_that_training_reads(talk, tmp_path):
    from turnwise.data.sources import read_source

    path = tmp_path / "talk.jsonl"
    one, shown = talk(ScriptedChatService(["Grüße 🚚"]), "hello", f"/save {path}")
    assert f"Saved 2 messages to {path}." in shown
    assert json.loads(path.read_text()) == {"messages": [message.as_dict() for message in one.messages]}
    (conversation,) = read_source(path)
    assert list(conversation.messages) == one.messages


def test_save_replaces_a_file_only_on_demand(talk, tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_text("precious")
    _, shown = talk(ScriptedChatService(words), "hello", f"/save {path}")
    assert f"it exists already. To replace it: /save {path} --overwrite" in shown
    assert path.read_text() == "precious"
    talk(ScriptedChatService(words), "hello", f"/save {path} --overwrite")
    assert json.loads(path.read_text())["messages"][0]["content"] == "hello"


def test_save_makes_no_folder(talk, tmp_path):
    _, shown = talk(ScriptedChatService(words), "hello", f"/save {tmp_path}/new/talk.jsonl")
    assert f"there is no folder {tmp_path}/new. Make it first." in shown
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_written_to_is_reported_and_the_talk_goes_on(talk, tmp_path):
    (tmp_path / "file").write_text("in the way")
    places = [
        "/proc/talk.jsonl",
        tmp_path,
        tmp_path / "file" / "talk.jsonl",
        "~no-such-person/talk.jsonl",
        tmp_path / ("x" * 300),
    ]
    one, shown = talk(ScriptedChatService(words), "hello", *(f"/save {place}" for place in places), "still there?")
    assert shown.count("Could not") == len(places)
    assert len(one.messages) == 4


def test_a_full_disk_is_reported_and_the_talk_goes_on(talk, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "talk.jsonl"
    path.write_text("what was there before")
    monkeypatch.setattr("turnwise.core.files.os.fsync", full)
    one, shown = talk(ScriptedChatService(words), "hello", f"/save {path} --overwrite", "still there?")
    assert "No space left on device. Nothing was changed." in shown
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]
    assert len(one.messages) == 4


# Failure


@pytest.mark.parametrize("lines", [["hello"], ["hello", "/retry"]])
def test_an_answer_that_could_not_begin_leaves_the_conversation_as_it_was(talk, lines):
    service = ScriptedChatService(words)

    def break_it():
        service._fail_after, service._failure = 0, ContextLengthExceeded("It does not fit.")
        return lines[-1]

    one, shown = talk(service, *lines[:-1], break_it)
    assert "It does not fit." in shown
    assert contents(one.messages) == ([] if len(lines) == 1 else ["user: hello", "assistant: 1: HELLO"])


def test_what_was_said_before_a_failure_stays(talk):
    service = ScriptedChatService(words, fail_after=1, failure=TurnwiseError("It melted."))
    one, shown = talk(service, "hello")
    assert "1: \nIt melted.\n" in shown
    assert contents(one.messages) == ["user: hello", "assistant: 1: "]


def test_a_conversation_that_somebody_deleted_is_kept_anew(talk, store):
    def delete():
        (kept,) = store.list()
        store.delete(kept.id)
        return "lost"

    one, shown = talk(ScriptedChatService(words, store=store), "hello", delete, "again")
    assert "may have been deleted" in shown
    (kept,) = store.list()
    assert [entry.message for entry in store.get(kept.id).messages] == one.messages
    assert one.messages[2] == Message("user", "again")


# The real program in a real terminal

PROGRAM = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from turnwise.cli.main import main
main()
"""


PROMPT = b"\x1b[0m>\x1b[0m"  # with the colours of prompt_toolkit


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, *arguments):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(self.ours, False)
        self.shown = b""

    def type(self, text):
        self.shown = b""
        os.write(self.ours, text.encode())

    def until(self, condition, seconds=180):
        deadline = time.monotonic() + seconds
        while not condition(self.shown):
            assert time.monotonic() < deadline, self.shown[-500:]
            try:
                self.shown += os.read(self.ours, 65536)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # the program has left
                return

    def leave(self):
        self.until(lambda _: self.process.poll() is not None)
        os.close(self.ours)
        return self.process.wait(5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_a_terminal_ctrl_c_stops_the_answer_and_ctrl_d_leaves(talkative_folder, tmp_path):
    terminal = Terminal("chat", talkative_folder, "--temperature", "0")
    try:
        terminal.until(lambda shown: PROMPT in shown)
        terminal.type("hello\r")
        terminal.until(lambda shown: len(shown) > 400)
        terminal.type("\x03")
        terminal.until(lambda shown: PROMPT in shown.partition(b"(stopped)")[2])
        terminal.type("/history\r")
        terminal.until(lambda shown: PROMPT in shown.partition(b"assistant")[2])
        terminal.type("\x04")
        assert terminal.leave() == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
    assert b"Goodbye." in terminal.shown
    assert b"Traceback" not in terminal.shown
    history = tmp_path / "home" / "history"
    assert "+hello" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


# Earlier conversations


@pytest.fixture
def earlier(store):
    """Two stored conversations, the one about lamps the latest."""
    for title in ("Tea", "Lamps"):
        id = store.create(title=title, model="scripted").id
        store.ensure_branch(id, [Message("user", f"{title}?"), Message("assistant", f"{title}!")])
    return store


@pytest.mark.parametrize("reference", ["last", "1", "lamps?", "id"])
def test_an_earlier_conversation_is_resumed(talk, earlier, reference):
    kept = earlier.list()[0]
    one, shown = talk(
        ScriptedChatService(words, store=earlier), "more", resume=kept.id if reference == "id" else reference
    )
    assert "Going on with: Lamps\nuser  Lamps?\nassistant  Lamps!\n" in shown
    assert contents(one.messages) == ["user: Lamps?", "assistant: Lamps!", "user: more", "assistant: 3: MORE"]
    assert [entry.message for entry in earlier.get(kept.id).messages] == one.messages
    assert len(earlier.list()) == 2


def test_conversations_are_listed_and_loaded(talk, earlier):
    one, shown = talk(ScriptedChatService(words, store=earlier), "/list", "/load 2", "/load nonsense", "more")
    assert [line.split("  ")[-1] for line in shown.splitlines() if line.startswith("  ") and ":" in line] == [
        "Lamps",
        "Tea",
    ]
    assert "There is no conversation with 'nonsense' in it." in shown
    assert contents(one.messages)[:3] == ["user: Tea?", "assistant: Tea!", "user: more"]


def test_nothing_to_resume_is_said(talk, store):
    with pytest.raises(NotFound, match="no earlier conversation"):
        talk(ScriptedChatService(words, store=store), resume="last")
    assert "not stored here" in talk(ScriptedChatService(words), "/list")[1]


def test_edits_and_retries_stay_as_branches(talk, store):
    one, _ = talk(ScriptedChatService(words, store=store), "/edit x", "hello", "/edit good evening", "/retry")
    assert contents(one.messages) == ["user: good evening", "assistant: 1: GOOD EVENING"]
    (kept,) = store.list()
    assert [entry.message.content for entry in store.get(kept.id).tree] == [
        "hello", "1: HELLO", "good evening", "1: GOOD EVENING", "1: GOOD EVENING",
    ]  # fmt: skip
