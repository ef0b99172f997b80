"""The default micro-batch size: limited by the memory for activations on a CPU."""

import pytest
import torch

from turnwise.training.launch import auto_micro_batch_size
from turnwise.training.launch.auto_micro_batch_size import activation_bytes_per_token, with_auto_micro_batch_size
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.prepare import with_batch_shape
from turnwise.training.recipe import parse_recipe

CPU = torch.device("cpu")


@pytest.fixture
def base(values):
    recipe = parse_recipe({**values, "training": {"max_seq_len": 64}}, origin="test")
    return recipe, load_base_model(recipe)


def test_activation_bytes_follow_from_the_linear_layers(base):
    _, bundle = base
    linear = [layer for layer in bundle.model.module.layers.modules() if isinstance(layer, torch.nn.Linear)]
    assert activation_bytes_per_token(bundle.model) == 4 * sum(
        layer.in_features + layer.out_features for layer in linear
    )


@pytest.mark.parametrize(("rows", "expected"), [(100, 8), (3.5, 3), (0.1, 1)])
def test_the_micro_batch_size_stays_within_the_memory_limit(base, monkeypatch, rows, expected):
    recipe, bundle = base
    limit = int(rows * 64 * activation_bytes_per_token(bundle.model))
    monkeypatch.setattr(auto_micro_batch_size, "MAX_ACTIVATION_BYTES", limit)
    assert with_auto_micro_batch_size(recipe, bundle.model, CPU).training.micro_batch_size == expected
    assert with_auto_micro_batch_size(recipe, bundle.model, torch.device("cuda")).training.micro_batch_size == 8


def test_a_micro_batch_size_in_the_recipe_stays(base, values, monkeypatch):
    _, bundle = base
    monkeypatch.setattr(auto_micro_batch_size, "MAX_ACTIVATION_BYTES", 1)
    recipe = parse_recipe({**values, "training": {"max_seq_len": 64, "micro_batch_size": 5}}, origin="test")
    assert with_batch_shape(recipe, bundle, CPU).training.micro_batch_size == 5
