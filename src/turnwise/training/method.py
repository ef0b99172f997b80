"""Base class of methods: which weights are trained, and how they are saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch

from turnwise.core.strict_model import StrictModel
from turnwise.models.language_model import LanguageModel
from turnwise.training.export import export_model
from turnwise.training.model_bundle import ModelBundle


class Method(StrictModel):
    """Base class of methods. The fields of a subclass are its options in a recipe.

    Attributes:
        SUMMARY: one line for `--help` and documentation.
        TRAINS_WEIGHTS: False if the method only changes the prompt.
        SAVES_WEIGHTS: True if the result is a full model, saved in the base model's dtype.
        CONTINUES_ADAPTERS: True if an adapter as the base model is trained further, False if it is merged first.
        INTERPOLATABLE: True if base and tuned weights can be interpolated.
    """

    SUMMARY: ClassVar[str] = ""
    TRAINS_WEIGHTS: ClassVar[bool] = True
    SAVES_WEIGHTS: ClassVar[bool] = True
    CONTINUES_ADAPTERS: ClassVar[bool] = False
    INTERPOLATABLE: ClassVar[bool] = True

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:  # noqa: ARG002
        """Return the model to train: freeze weights and add trainable modules.

        Args:
            base: base model.
            seed: seed for the initialization of added weights.

        Raises:
            InvalidParameter: an option does not fit the model.
        """
        return base

    def plain(self, model: LanguageModel) -> LanguageModel:
        """Return an equivalent model without training-only modules; it may share weights with `model`."""
        return model

    def save(
        self, target: Path, base: ModelBundle, files: Mapping[str, str | Path], dtype: torch.dtype | None = None
    ) -> None:
        """Write the trained model to a folder.

        Args:
            target: folder to write.
            base: result of `prepare`, trained.
            files: further files and folders by name: their text, or a path to copy.
            dtype: dtype of the saved weights; None keeps their dtype.
        """
        model = self.plain(base.model)
        export_model(target, model, base.tokenizer, generation=base.generation, dtype=dtype, files=files)
