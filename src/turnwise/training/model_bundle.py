"""What a run starts from: a model, its tokenizer, and how it would generate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

# For models that only fill gaps, and so have no turns: what is said, one after the other.
LINES_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@dataclass(frozen=True)
class ModelBundle:
    """What a run starts from."""

    model: LanguageModel
    tokenizer: Tokenizer
    generation: dict[str, Any] | None
    folder: Path | None = None

    @property
    def renderer(self) -> Renderer:
        """How dialogues are laid out for it."""
        speaks = self.tokenizer.chat_template is not None or "eos_token" in self.tokenizer.special_tokens_map
        if self.model.kind == "encoder" and not speaks:
            return Renderer(self.tokenizer, LINES_TEMPLATE)
        return Renderer.from_tokenizer(self.tokenizer)
