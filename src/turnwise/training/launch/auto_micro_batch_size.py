"""Default micro-batch size, limited by the memory for activations.

A backward pass needs the activations of every layer. On a CPU one row of 512 tokens already uses all cores, so more
rows only take memory (SmolLM2-135M with LoRA: 0.8 GB per row). A GPU is faster with more rows.
"""

import torch

from turnwise.models.language_model import LanguageModel, block_matrices
from turnwise.training.recipe import Recipe

MAX_ACTIVATION_BYTES = 2**30  # approximate limit of the activation memory of a micro-batch


def with_auto_micro_batch_size(recipe: Recipe, model: LanguageModel, device: torch.device) -> Recipe:
    """Return the recipe with a micro-batch size whose activations fit `KEPT_BYTES` on a CPU."""
    training = recipe.training
    if device.type != "cpu" or training.max_seq_len is None:
        return recipe
    limit = max(1, MAX_ACTIVATION_BYTES // (training.max_seq_len * activation_bytes_per_token(model)))
    if training.micro_batch_size <= limit:
        return recipe
    return recipe.with_training(micro_batch_size=limit)


def activation_bytes_per_token(model: LanguageModel) -> int:
    """Estimate the activation bytes per token: inputs and outputs of the linear layers in float32."""
    return max(1, 4 * sum(sum(matrix.shape) for matrix in block_matrices(model.module)))
