"""Default micro-batch size, limited by the memory for activations.

A backward pass needs the activations of every layer. On a CPU one row of 512 tokens already uses all cores, so more
rows only take memory (SmolLM2-135M with LoRA: 0.8 GB per row). A GPU is faster with more rows.
"""

import torch

from turnwise.models.language_model import LanguageModel, block_matrices
from turnwise.training.recipe import Recipe

KEPT_BYTES = 2**30  # approximate limit of the activation memory of a micro-batch


def with_fitting_micro_rows(recipe: Recipe, model: LanguageModel, device: torch.device) -> Recipe:
    """Return the recipe with a micro-batch size whose activations fit `KEPT_BYTES` on a CPU."""
    training = recipe.training
    if device.type != "cpu" or training.row_length is None:
        return recipe
    limit = max(1, KEPT_BYTES // (training.row_length * kept_bytes(model)))
    if training.micro_rows <= limit:
        return recipe
    return recipe.model_copy(update={"training": training.model_copy(update={"micro_rows": limit})})


def kept_bytes(model: LanguageModel) -> int:
    """Estimate the activation bytes per token: inputs and outputs of the linear layers in float32."""
    return max(1, 4 * sum(sum(matrix.shape) for matrix in block_matrices(model.module)))
