"""Sampling with the weights in training."""

import pytest
import torch

from turnwise.engine.kv_cache.block_pool import blocks_for
from turnwise.engine.runners.memory_budget import num_cache_blocks
from turnwise.models.checkpoint import create
from turnwise.models.decoder_weights import as_decoder_weights
from turnwise.training.methods.full import FullMethod
from turnwise.training.methods.lora import LoraMethod
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.rollouts.reply_sampler import (
    MAX_NUM_SEQS,
    ReplySampler,
    lora_factors_in_training,
    sampling_cache_bytes,
)

PROMPTS = [[5, 6, 7], [8, 9, 10, 11]]


@pytest.fixture(params=["full", "lora", "dora"])
def sampler_and_model(request, tiny_config, tokenizer, tmp_path, one_thread):
    method = FullMethod() if request.param == "full" else LoraMethod(rank=2, dora=request.param == "dora")
    bundle = method.prepare(ModelBundle(create(tiny_config, seed=0), tokenizer, None, folder=tmp_path), 0)
    sampler = ReplySampler(bundle.model, method, tokenizer, max_tokens=8)
    yield sampler, bundle.model
    sampler.close()


def change(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))


def test_the_replies_are_those_of_the_last_synchronized_weights(sampler_and_model):
    sampler, model = sampler_and_model
    sampler.sync()
    before = sampler.sample(PROMPTS, 2, seed=3)
    change(model)
    assert sampler.sample(PROMPTS, 2, seed=3) == before
    sampler.sync()
    after = sampler.sample(PROMPTS, 2, seed=3)
    assert after != before
    greedy = [group[0].token_ids for group in sampler.sample(PROMPTS, 1, seed=0, temperature=0)]
    assert [ids[0] for ids in greedy if ids] == [
        next_token(model, prompt) for prompt, ids in zip(PROMPTS, greedy, strict=True) if ids
    ]


def test_the_replies_stay_the_same_when_trained_weights_change_in_place(sampler_and_model):
    sampler, model = sampler_and_model
    change(model)  # an update of LoRA that is not 0, so that both of its factors count
    sampler.sync()
    before = sampler.sample(PROMPTS, 2, seed=3)
    change(model)
    assert sampler.sample(PROMPTS, 2, seed=3) == before


def test_suppressed_tokens_are_never_sampled(tiny_config, tokenizer, tmp_path, one_thread):
    model = create(tiny_config, seed=0)
    free = ReplySampler(model, FullMethod(), tokenizer, max_tokens=8)
    free.sync()
    ids = {id for group in free.sample(PROMPTS, 4, seed=1) for reply in group for id in reply.token_ids}
    free.close()
    banned = ReplySampler(model, FullMethod(), tokenizer, max_tokens=8, suppressed=ids)
    banned.sync()
    sampled = {id for group in banned.sample(PROMPTS, 4, seed=1) for reply in group for id in reply.token_ids}
    banned.close()
    assert ids
    assert sampled
    assert not sampled & ids


def next_token(model, prompt):
    model.module.eval()
    with torch.no_grad():
        return int(model.decoder.logits(model.decoder(torch.tensor([prompt])))[0, -1].argmax())


def test_the_same_seed_gives_the_same_replies_and_another_seed_others(sampler_and_model):
    sampler, _ = sampler_and_model
    sampler.sync()
    first = sampler.sample(PROMPTS, 3, seed=1)
    assert [len(group) for group in first] == [3, 3]
    assert sampler.sample(PROMPTS, 3, seed=1) == first
    assert sampler.sample(PROMPTS, 3, seed=2) != first


def test_only_lora_without_magnitudes_is_exchanged_beside_the_base(tiny_config, tokenizer, tmp_path):
    for dora in (False, True):
        method = LoraMethod(rank=2, dora=dora)
        bundle = method.prepare(ModelBundle(create(tiny_config, seed=0), tokenizer, None, folder=tmp_path), 0)
        assert bool(lora_factors_in_training(bundle.model.decoder)) != dora


def test_the_cache_on_a_gpu_has_room_for_all_sequences_and_not_for_all_contexts(tiny_config):
    weights = as_decoder_weights(create(tiny_config, seed=0).decoder)
    limit = sampling_cache_bytes(weights, max_total_tokens=40)
    num_blocks = num_cache_blocks(weights, MAX_NUM_SEQS, limit)
    assert num_blocks >= MAX_NUM_SEQS * blocks_for(40)
    assert num_blocks < num_cache_blocks(weights, MAX_NUM_SEQS, None)
