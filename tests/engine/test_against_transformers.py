"""Sampled tokens have the distribution that transformers' `generate` samples from, for every warper that both have.

The distribution is `scores` of `generate`; the samples are ours, one per seed, from our forward pass of the same
checkpoint. Top-nσ, which transformers does not have, has its reference in `test_warpers.py`.
"""

import numpy as np
import pytest
import torch

from turnwise.core.parameters import GenerationParams
from turnwise.engine.sampling.multinomial import SamplerState, sample_tokens
from turnwise.models.checkpoint import load

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("one_thread")

VOCAB = 64
PROMPT = [5, 17, 3, 42, 8]
DRAWS = 4_000
NORMAL = 4.753  # the standard normal distribution's quantile at 1 - 1e-6
WARPERS = [
    {"temperature": 0.6}, {"temperature": 1.7}, {"top_k": 5}, {"top_p": 0.6}, {"min_p": 0.1}, {"typical_p": 0.5},
    {"epsilon_cutoff": 0.02}, {"eta_cutoff": 0.05}, {"eta_cutoff": 0.2},
    {"temperature": 1.3, "top_k": 40, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.95, "epsilon_cutoff": 0.01,
     "eta_cutoff": 0.02},
]  # fmt: skip
CONFIGS = {
    "gpt2": lambda: transformers.GPT2Config(vocab_size=VOCAB, n_embd=32, n_head=4, n_layer=2, n_positions=32),
    "llama": lambda: transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS)
def both_models(request, tmp_path_factory):
    """A tiny random checkpoint: the model of transformers, and the logits of ours after the prompt."""
    config = CONFIGS[request.param]()
    config.initializer_range = 0.2  # large, so that some tokens are far likelier than others
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    folder = tmp_path_factory.mktemp("models") / request.param
    model.save_pretrained(folder)
    ours = load(folder, dtype=torch.float32).decoder.eval()
    with torch.inference_mode():
        logits_1V = ours.logits(ours(torch.tensor([PROMPT]))[:, -1])
    return model, logits_1V


def hf_probabilities(model, params):
    """Probabilities of the next token after all logits processors of transformers."""
    neutral = {"top_k": 0, "top_p": 1.0, "temperature": 1.0}  # transformers' own defaults cut off
    config = transformers.GenerationConfig(
        do_sample=True, max_new_tokens=1, output_scores=True, return_dict_in_generate=True, pad_token_id=0,
        **{**neutral, **params},
    )  # fmt: skip
    output = model.generate(
        torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long), generation_config=config
    )
    return output.scores[0][0].double().softmax(dim=0).numpy()


def critical(freedom):
    """The chi-square distribution's quantile at 1 - 1e-6 (Wilson and Hilferty 1931), exact to about a hundredth."""
    term = 2 / (9 * freedom)
    return freedom * (1 - term + NORMAL * term**0.5) ** 3


@pytest.mark.parametrize("params", WARPERS, ids=lambda params: "+".join(params))
def test_token_frequencies_match_the_distribution_of_transformers(both_models, params):
    model, logits_1V = both_models
    expected = hf_probabilities(model, params)
    draws = [SamplerState.from_params(GenerationParams(seed=seed, **params)) for seed in range(DRAWS)]
    counts = np.bincount(sample_tokens(logits_1V.expand(DRAWS, -1), draws), minlength=VOCAB)
    assert not counts[expected == 0].any(), "what transformers cuts off is never drawn"
    assert (expected == 0).any() == (params.keys() != {"temperature"}), "the setting does cut something off"
    order = np.argsort(-expected)[: (expected > 0).sum()]
    # Tokens that come less than ten times are counted together: the statistic is a chi-square only for many.
    common = max(1, int((expected[order] * DRAWS >= 10).sum()))
    bins = [*([token] for token in order[:common]), order[common:]]
    observed_counts = np.array([counts[tokens].sum() for tokens in bins if len(tokens)])
    expected_counts = np.array([expected[tokens].sum() * DRAWS for tokens in bins if len(tokens)])
    assert len(expected_counts) > 1, "one token alone would test nothing"
    assert ((observed_counts - expected_counts) ** 2 / expected_counts).sum() < critical(len(expected_counts) - 1)


def test_the_statistic_detects_a_warper_that_is_not_applied(both_models):
    """The statistic is large if only one side applies the warper."""
    model, logits_1V = both_models
    expected = hf_probabilities(model, {"temperature": 0.8})
    draws = [SamplerState.from_params(GenerationParams(seed=seed)) for seed in range(DRAWS)]
    counts = np.bincount(sample_tokens(logits_1V.expand(DRAWS, -1), draws), minlength=VOCAB)
    common = expected * DRAWS >= 10
    statistic = ((counts[common] - expected[common] * DRAWS) ** 2 / (expected[common] * DRAWS)).sum()
    assert statistic > critical(common.sum())
