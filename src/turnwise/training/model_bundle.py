"""A model with its tokenizer and generation configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnwise.models.adapters import Adapter
from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

# For encoder-only models without a chat template: the messages, one per line.
LINES_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@dataclass(frozen=True)
class ModelBundle:
    """A model with its tokenizer.

    Attributes:
        model: weights and architecture.
        tokenizer: tokenizer with chat template.
        generation: content of `generation_config.json`; None if there is none.
        folder: folder it was loaded from; None for a new model.
        adapter: an adapter of the model, not merged, whose training continues.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    generation: dict[str, Any] | None
    folder: Path | None = None
    adapter: Adapter | None = None

    @property
    def renderer(self) -> Renderer:
        """Renderer of the model's chat template; messages as lines for encoders without one."""
        has_template = self.tokenizer.chat_template is not None or "eos_token" in self.tokenizer.special_tokens_map
        if self.model.kind == "encoder" and not has_template:
            return Renderer(self.tokenizer, LINES_TEMPLATE)
        return Renderer.from_tokenizer(self.tokenizer)
