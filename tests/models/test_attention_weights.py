"""Attention weights of the last token equal those of transformers, for every family and case."""

import pytest
import torch
from family_cases import CASES

from turnwise.core.steps import run_steps
from turnwise.models.attention_weights import last_token_attention
from turnwise.models.checkpoint import Checkpoint, load
from turnwise.models.decoder_weights import ModuleWeights

T = 24  # longer than every window in the configs
IDS = tuple(torch.randint(0, 96, (T,), generator=torch.Generator().manual_seed(3)).tolist())


def weights_of(source, ids=IDS):
    return run_steps(last_token_attention(source, ids))


@pytest.mark.parametrize(("family", "case"), CASES)
def test_the_weights_equal_those_of_transformers(published, family, case):
    folder, hf_model = published(family, case)
    with torch.inference_mode():
        attentions = hf_model(torch.tensor([IDS]), output_attentions=True).attentions
    expected_NHT = torch.stack([layer_BHTL[0, :, -1] for layer_BHTL in attentions])
    weights_NHT = weights_of(Checkpoint(folder))
    torch.testing.assert_close(weights_NHT, expected_NHT, rtol=0, atol=1e-5)
    torch.testing.assert_close(weights_NHT.sum(dim=-1), torch.ones(weights_NHT.shape[:2]))


def test_a_windowed_layer_gives_earlier_tokens_no_weight(published):
    weights_NHT = weights_of(Checkpoint(published("mistral", "windowed")[0]))
    assert (weights_NHT[..., :-5] == 0).all()
    assert (weights_NHT[..., -5:] > 0).all()


def test_a_token_does_not_attend_to_later_ones(published):
    folder, hf_model = published("qwen2", "full attention")
    with torch.inference_mode():
        attentions = hf_model(torch.tensor([IDS]), output_attentions=True).attentions
    expected_NHT = torch.stack([layer_BHTL[0, :, 9] for layer_BHTL in attentions])
    assert (expected_NHT[..., 10:] == 0).all()
    torch.testing.assert_close(weights_of(Checkpoint(folder), IDS[:10]), expected_NHT[..., :10], rtol=0, atol=1e-5)


def test_a_decoder_in_memory_stays_unchanged(published):
    folder = published("llama", "tied")[0]
    decoder = load(folder, dtype=torch.float32).decoder
    before = {name: parameter.clone() for name, parameter in decoder.named_parameters()}
    torch.testing.assert_close(weights_of(ModuleWeights(decoder)), weights_of(Checkpoint(folder)))
    assert all(torch.equal(parameter, before[name]) for name, parameter in decoder.named_parameters())


def test_there_is_one_step_per_layer(published):
    steps = last_token_attention(Checkpoint(published("llama", "tied")[0]), IDS)
    assert len(list(steps)) == 4
