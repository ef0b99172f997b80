"""Turn taking: the full history in the model's own chat template."""

from typing import ClassVar

from turnwise.chat.interaction_format import InteractionFormat
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer


class TurnTakingFormat(InteractionFormat):
    """The model's own chat template; the end-of-text token after every turn for models without one."""

    SUMMARY: ClassVar[str] = "the full history in the model's chat template"

    def chat_template(self, tokenizer: Tokenizer) -> str:
        """The template of the model. Raises `TemplateError` if it has neither a template nor an end-of-text token."""
        return Renderer.from_tokenizer(tokenizer).chat_template
