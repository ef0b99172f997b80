"""A tokenizer's renderer and dialogues with intents."""

import pytest


@pytest.fixture(scope="session")
def renderer(tokenizer):
    from turnwise.text.render import Renderer

    return Renderer.of(tokenizer)


@pytest.fixture(scope="session")
def desk():
    """Sixty questions of three intents, each with a reply of its own."""
    from turnwise.core.messages import Conversation, Message

    def talk(intent, number):
        question = Message("user", f"{intent} {number:02}?")
        return Conversation((question, Message("assistant", f"{intent} is {number:02}.")), {"intent": intent})

    return [talk(intent, number) for intent in ("order", "lamp", "park") for number in range(20)]
