"""What a method is: which weights learn, and what is kept of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch

from turnwise.core.strict_model import StrictModel
from turnwise.models.language_model import LanguageModel
from turnwise.training.export import export_model
from turnwise.training.model_bundle import ModelBundle


class Method(StrictModel):
    """A method; its fields are its options in a recipe."""

    SUMMARY: ClassVar[str] = ""
    TRAINS_WEIGHTS: ClassVar[bool] = True  # whether any weight does
    SAVES_WEIGHTS: ClassVar[bool] = True  # whether changed weights are saved in the model's own type
    INTERPOLATABLE: ClassVar[bool] = True  # whether weights between the base's and the tuned ones mean anything

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:  # noqa: ARG002
        """What is trained: weights that stay as they are are frozen, and what is added is there.

        Args:
            base: the model as it was.
            seed: of what is added.

        Raises:
            InvalidParameter: an option that does not fit the model.
        """
        return base

    def plain(self, model: LanguageModel) -> LanguageModel:
        """A model that computes the same and holds nothing that only training needs; it may share weights."""
        return model

    def save(
        self, target: Path, base: ModelBundle, files: Mapping[str, str | Path], dtype: torch.dtype | None = None
    ) -> None:
        """Write what was trained as a model folder.

        Args:
            target: the folder.
            base: what `prepare` gave, trained.
            files: further files and folders by name: their text, or a path to copy.
            dtype: of the saved weights; None keeps theirs.
        """
        model = self.plain(base.model)
        export_model(target, model, base.tokenizer, generation=base.generation, dtype=dtype, files=files)
