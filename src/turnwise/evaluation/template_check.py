"""Checks whether the chat templates of models accept a dialogue."""

from collections.abc import Mapping

from turnwise.core.errors import UserError
from turnwise.core.messages import Conversation
from turnwise.text.rendering.renderer import Renderer


def template_error(dialogue: Conversation, renderers: Mapping[str, Renderer]) -> str | None:
    """Return the error of the first chat template that rejects a dialogue; None if all accept it.

    Args:
        dialogue: the dialogue.
        renderers: renderers by model name.
    """
    for name, renderer in renderers.items():
        try:
            renderer.render(dialogue.messages, tools=dialogue.tools)
        except UserError as error:
            return f"The chat template of {name} rejects it: {error}"
    return None
