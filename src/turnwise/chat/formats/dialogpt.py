"""DialoGPT's format: turns without roles, each ended by the end-of-text token (Zhang et al. 2020)."""

from typing import ClassVar

from turnwise.chat.interaction_format import InteractionFormat, require_end_token, text_template
from turnwise.text.rendering.renderer import FALLBACK_CHAT_TEMPLATE
from turnwise.text.tokenization.tokenizer import Tokenizer


class DialoGptFormat(InteractionFormat):
    """Turns without roles, each ended by the end-of-text token."""

    SUMMARY: ClassVar[str] = "turns without roles, each ended by the end-of-text token (DialoGPT)"

    def chat_template(self, tokenizer: Tokenizer) -> str:
        """The template. Raises `TemplateError` without an end-of-text token."""
        require_end_token(tokenizer, self.NAME)
        return text_template(self.turn_format(), FALLBACK_CHAT_TEMPLATE, tokenizer)
