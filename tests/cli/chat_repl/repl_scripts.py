"""Scripts of models, and what a conversation contains."""

from turnwise.core.scenario import Scenario

KIND = Scenario(system_prompt="Be kind.")


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
