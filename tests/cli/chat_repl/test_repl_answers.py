"""The chat REPL with scripted input and a scripted model: answers, Ctrl-C and errors."""

import signal

import pytest
from repl_scripts import contents, echo, stored_messages

from turnwise.core.chat_response import ContextReport
from turnwise.core.errors import ContextLengthExceeded, TurnwiseError
from turnwise.core.messages import Message
from turnwise.testing import ScriptedChatService

pytestmark = pytest.mark.timeout(60)


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
