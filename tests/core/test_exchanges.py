"""The last reply of a conversation."""

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message, ToolCall

QUESTION, REPLY = Message("user", "Where is my lamp?"), Message("assistant", "On its way.")
CALL = Message("assistant", "", tool_calls=(ToolCall("1", "find_order", "{}"),))
RESULT = Message("tool", "in transit", tool_call_id="1")


def split(*messages):
    return last_reply(Conversation(messages))


def test_the_last_reply_follows_its_history():
    assert split(QUESTION, REPLY) == ((QUESTION,), "On its way.")


def test_a_user_message_after_it_is_ignored():
    assert split(QUESTION, REPLY, QUESTION) == ((QUESTION,), "On its way.")


def test_tool_calls_and_results_may_stand_between_the_question_and_the_reply():
    assert split(QUESTION, CALL, RESULT, REPLY) == ((QUESTION, CALL, RESULT), "On its way.")


def test_a_tool_call_without_text_is_not_a_reply():
    assert split(QUESTION, REPLY, QUESTION, CALL, RESULT) == ((QUESTION,), "On its way.")
    assert split(QUESTION, CALL, RESULT) is None


def test_the_last_of_several_assistant_messages_is_taken():
    assert split(QUESTION, Message("assistant", "One moment."), REPLY) == (
        (QUESTION, Message("assistant", "One moment.")),
        "On its way.",
    )


def test_a_greeting_before_the_first_user_message_is_not_a_reply():
    assert split(REPLY, REPLY) is None
    assert split(REPLY, QUESTION) is None


def test_a_conversation_without_an_assistant_has_none():
    assert split(QUESTION) is None
    assert split() is None
