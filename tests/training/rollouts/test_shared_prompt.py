"""Replies that share a prompt: the same losses and gradients as with a prompt each, from fewer tokens."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnwise.models.packed_segments import packed_rows, segment_mask
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example
from turnwise.training.log_probs import token_losses
from turnwise.training.rollouts.shared_prompt import share_prompt

SETTINGS = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
IDS = st.integers(3, 250)
PROMPTS = st.lists(IDS, min_size=2, max_size=12)
REPLIES = st.lists(st.lists(IDS, min_size=1, max_size=6), min_size=2, max_size=4)


def examples_of(prompt, replies):
    """An example per reply; its weights and labels are its number."""
    examples = []
    for number, reply in enumerate(replies, 1):
        plain = Example.causal([*prompt, *reply], np.arange(len(prompt) + len(reply)) >= len(prompt))
        labels = {"number": number * plain.target_mask.astype(np.float32)}
        weights = np.full(plain.size, number, np.float32)
        examples.append(Example(plain.ids, plain.targets, weights, units=0.5, token_labels=labels))
    return examples


def losses_and_gradients(model, batch):
    """Loss of every target with the number of its reply, and the gradients of their weighted sum."""
    model.module.zero_grad()
    is_target_BT = batch.targets_BT >= 0
    losses_N = token_losses(model, batch)
    (losses_N * batch.weights_BT[is_target_BT]).sum().backward()
    numbers_N = batch.token_labels["number"][is_target_BT]
    gradients = [parameter.grad.clone() for parameter in model.module.parameters()]
    return losses_N.detach(), numbers_N, gradients


@SETTINGS
@given(prompts=st.lists(st.tuples(PROMPTS, REPLIES), min_size=1, max_size=3))
def test_losses_and_gradients_are_those_of_separate_prompts(tiny_model, one_thread, prompts):
    separate = [example for prompt, replies in prompts for example in examples_of(prompt, replies)]
    shared = [share_prompt(examples_of(prompt, replies), len(prompt)) for prompt, replies in prompts]
    assert sum(example.units for example in shared) == sum(example.units for example in separate)
    expected_losses, expected_numbers, expected = losses_and_gradients(tiny_model, collate([separate], pad_id=0))
    for rows in ([shared], [[example] for example in shared]):
        losses_N, numbers_N, gradients = losses_and_gradients(tiny_model, collate(rows, pad_id=0))
        torch.testing.assert_close(losses_N, expected_losses, atol=1e-5, rtol=1e-5)
        assert torch.equal(numbers_N, expected_numbers)
        for gradient, expected_gradient in zip(gradients, expected, strict=True):
            torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
@SETTINGS
@given(prompts=st.lists(st.tuples(PROMPTS, REPLIES), min_size=1, max_size=3))
def test_segments_attend_as_the_mask_says(tiny_model, prompts):
    shared = [share_prompt(examples_of(prompt, replies), len(prompt)) for prompt, replies in prompts]
    batch = collate([shared, shared[:1]], pad_id=0)
    segment_ids_BT, positions_BT = batch.segment_ids_BT, batch.positions_BT
    rows = packed_rows(segment_ids_BT, positions_BT)
    by_segment_BTC = tiny_model.decoder(batch.ids_BT, positions_BT=positions_BT, segments=rows)
    mask = segment_mask(segment_ids_BT, positions_BT)
    by_mask_BTC = tiny_model.decoder(batch.ids_BT, positions_BT=positions_BT, mask=mask)
    is_token_BT = segment_ids_BT > 0
    torch.testing.assert_close(by_segment_BTC[is_token_BT], by_mask_BTC[is_token_BT], atol=1e-5, rtol=1e-5)


def test_the_prompt_is_there_once():
    example = share_prompt(examples_of([1, 2, 3], [[4, 5], [6]]), 3)
    assert example.ids.tolist() == [1, 2, 3, 4, 5, 3, 6]
    assert example.targets.tolist() == [-100, -100, 4, 5, -100, 6, -100]
    assert example.segment_lengths == (2, 3, 2)
    assert collate([[example]], pad_id=0).positions_BT.tolist() == [[0, 1, 2, 3, 4, 2, 3]]


def test_replies_to_different_prompts_are_refused():
    examples = [*examples_of([1, 2, 3], [[4]]), *examples_of([1, 7, 3], [[4]])]
    with pytest.raises(AssertionError):
        share_prompt(examples, 3)
