"""How many rows are computed at a time where the recipe leaves it open.

A backward pass needs what every layer read and made. On a processor one row of 512 tokens keeps all units busy, so
further rows at a time only take memory (SmolLM2-135M with LoRA: 0.8 GB a row); a GPU is quicker with more.
"""

import torch

from turnwise.models.language_model import LanguageModel
from turnwise.models.transformers_model import block_matrices
from turnwise.training.recipe import Recipe

KEPT_BYTES = 2**30  # that a backward pass may need of the rows before it, about


def with_fitting_micro_rows(recipe: Recipe, model: LanguageModel, device: torch.device) -> Recipe:
    """The recipe, its row length settled, with as many rows at a time as stay within `KEPT_BYTES` on a processor."""
    training = recipe.training
    if device.type != "cpu" or training.row_length is None:
        return recipe
    most = max(1, KEPT_BYTES // (training.row_length * kept_bytes(model)))
    if training.micro_rows <= most:
        return recipe
    return recipe.model_copy(update={"training": training.model_copy(update={"micro_rows": most})})


def kept_bytes(model: LanguageModel) -> int:
    """What is kept of a token for the backward pass, about: inputs and outputs of the linear layers in float32."""
    return max(1, 4 * sum(sum(matrix.shape) for matrix in block_matrices(model.module)))
