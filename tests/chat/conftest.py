"""What several of this folder's tests need."""

import pytest
from fakes import saying
from talks import Answers

from turnwise.chat.service import EngineChatService
from turnwise.text.rendering.renderer import Renderer


@pytest.fixture
def says(tokenizer):
    """`says(*answers)`: a service that gives these answers, the last one again and again."""

    def says(*answers, context_length=200, template=None, **more):
        renderer = Renderer.from_tokenizer(tokenizer) if template is None else Renderer(tokenizer, template)
        events = [saying(tokenizer.encode(answer)) for answer in answers]
        return EngineChatService("tiny", 0, "fp", renderer, Answers(*events, context_length=context_length), **more)

    return says
