"""Fixtures of the chat tests."""

import pytest
from dialogues import ScriptedEngine
from fakes import answer_events

from turnwise.chat.service import EngineChatService
from turnwise.text.rendering.renderer import Renderer


@pytest.fixture
def says(tokenizer):
    """`says(*answers)`: a service that gives these answers one after the other and repeats the last one."""

    def says(*answers, context_length=200, template=None, **fields):
        renderer = Renderer.from_tokenizer(tokenizer) if template is None else Renderer(tokenizer, template)
        events = [answer_events(tokenizer.encode(answer)) for answer in answers]
        return EngineChatService(
            "tiny", 0, "fp", renderer, ScriptedEngine(*events, context_length=context_length), **fields
        )

    return says
