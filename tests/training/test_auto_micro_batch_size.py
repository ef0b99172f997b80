"""Rows at a time where the recipe leaves it open: as many as a processor's memory holds the activations of."""

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


def test_what_is_kept_of_a_token_follows_from_the_linear_layers(base):
    _, found = base
    linear = [part for part in found.model.module.layers.modules() if isinstance(part, torch.nn.Linear)]
    assert activation_bytes_per_token(found.model) == 4 * sum(part.in_features + part.out_features for part in linear)


@pytest.mark.parametrize(("rows", "expected"), [(100, 8), (3.5, 3), (0.1, 1)])
def test_rows_at_a_time_stay_within_memory(base, monkeypatch, rows, expected):
    recipe, found = base
    limit = int(rows * 64 * activation_bytes_per_token(found.model))
    monkeypatch.setattr(auto_micro_batch_size, "MAX_ACTIVATION_BYTES", limit)
    assert with_auto_micro_batch_size(recipe, found.model, CPU).training.micro_batch_size == expected
    assert with_auto_micro_batch_size(recipe, found.model, torch.device("cuda")).training.micro_batch_size == 8


def test_a_number_that_was_given_stays(base, values, monkeypatch):
    _, found = base
    monkeypatch.setattr(auto_micro_batch_size, "MAX_ACTIVATION_BYTES", 1)
    given = parse_recipe({**values, "training": {"max_seq_len": 64, "micro_batch_size": 5}}, origin="test")
    assert with_batch_shape(given, found, CPU).training.micro_batch_size == 5
