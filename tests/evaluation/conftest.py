"""Fixtures: a renderer, dialogues with intents, and a machine without a GPU."""

import json

import pytest


@pytest.fixture(scope="session")
def renderer(tokenizer):
    from turnwise.text.rendering.renderer import Renderer

    return Renderer.from_tokenizer(tokenizer)


@pytest.fixture(scope="session")
def intent_dialogues():
    """Sixty dialogues of three intents; every question has a different reply."""
    from turnwise.core.messages import Conversation, Message

    def dialogue(intent, number):
        question = Message("user", f"{intent} {number:02}?")
        return Conversation((question, Message("assistant", f"{intent} is {number:02}.")), {"intent": intent})

    return [dialogue(intent, number) for intent in ("order", "lamp", "park") for number in range(20)]


@pytest.fixture
def on_the_cpu(monkeypatch, tmp_path):
    """Hide the GPU, and use a temporary folder for the response cache."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))


@pytest.fixture
def data(intent_dialogues, tmp_path):
    """The dialogues of `intent_dialogues` as a JSONL file; its name has a space and brackets."""
    path = tmp_path / "test [set].jsonl"
    with path.open("w") as file:
        for dialogue in intent_dialogues:
            row = {"messages": [message.as_dict() for message in dialogue.messages], **dialogue.meta}
            file.write(json.dumps(row) + "\n")
    return path
