"""Dialogues that a model cannot be asked about, because its chat template refuses them."""

from collections.abc import Mapping

from turnwise.core.errors import UserError
from turnwise.core.messages import Conversation
from turnwise.text.rendering.renderer import Renderer


def template_error(dialogue: Conversation, renderers: Mapping[str, Renderer]) -> str | None:
    """Why the first template that refuses a dialogue does so; None where all of them take it.

    Args:
        dialogue: any.
        renderers: of each model that it is for, by the model's name.
    """
    for name, renderer in renderers.items():
        try:
            renderer.render(dialogue.messages, tools=dialogue.tools)
        except UserError as error:
            return f"{name} cannot read it. {error}"
    return None
