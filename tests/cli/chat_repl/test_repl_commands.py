"""Commands of the chat REPL."""

import itertools

import pytest
from repl_scripts import KIND, contents, echo, stored_messages

from turnwise.cli.chat_repl import COMMANDS
from turnwise.testing import ScriptedChatService

pytestmark = pytest.mark.timeout(60)


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
