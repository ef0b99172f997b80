"""A tokenizer's renderer and dialogues with intents."""

import json

import pytest


@pytest.fixture(scope="session")
def renderer(tokenizer):
    from turnwise.text.rendering.renderer import Renderer

    return Renderer.from_tokenizer(tokenizer)


@pytest.fixture(scope="session")
def desk():
    """Sixty questions of three intents, each with a reply of its own."""
    from turnwise.core.messages import Conversation, Message

    def talk(intent, number):
        question = Message("user", f"{intent} {number:02}?")
        return Conversation((question, Message("assistant", f"{intent} is {number:02}.")), {"intent": intent})

    return [talk(intent, number) for intent in ("order", "lamp", "park") for number in range(20)]


@pytest.fixture
def on_the_cpu(monkeypatch, tmp_path):
    """Without a GPU, and with a home of its own for what is kept."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))


@pytest.fixture
def data(desk, tmp_path):
    """The desk as a file, whose name has a space and brackets."""
    path = tmp_path / "test [set].jsonl"
    with path.open("w") as file:
        for talk in desk:
            row = {"messages": [message.as_dict() for message in talk.messages], **talk.meta}
            file.write(json.dumps(row) + "\n")
    return path
