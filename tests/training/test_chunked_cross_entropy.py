"""Cross-entropy in parts is the same loss with the same gradient, and never holds all scores."""

from dataclasses import replace

import pytest
import torch

from turnwise.models.checkpoint import create
from turnwise.training import chunked_cross_entropy as chunked
from turnwise.training.examples.batches import IGNORED
from turnwise.training.log_probs import cross_entropy_sum, token_losses

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def batch(trainer, recipe):
    run = trainer(recipe())
    found = run.data.train.batch(run.data.train.rows()[:4])
    weights = torch.rand(found.targets_BT.shape, generator=torch.Generator().manual_seed(0))
    return replace(found, weights_BT=weights)


def gradients(model, loss):
    model.module.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.module.named_parameters()}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_are_the_same(tiny_config, batch, monkeypatch, tied, dtype):
    model = create(replace(tiny_config, tied=tied), seed=0)
    found = []
    for most in (2**40, 7 * model.vocab_size):
        monkeypatch.setattr(chunked, "MAX_LOGITS", most)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = cross_entropy_sum(model, batch)
        found.append((loss.item(), gradients(model, loss)))
    (one, whole), (other, parts) = found
    bound = 1e-6 if dtype == torch.float32 else 1e-2
    assert other == pytest.approx(one, rel=bound)
    for name, gradient in whole.items():
        assert (parts[name] - gradient).abs().max() <= bound * gradient.abs().max(), name


def test_every_targets_own_loss_is_the_same(tiny_config, batch, monkeypatch):
    """Preferences look at sums over some of them."""
    model = create(tiny_config, seed=0)
    found = []
    for most in (2**40, 7 * model.vocab_size):
        monkeypatch.setattr(chunked, "MAX_LOGITS", most)
        losses = token_losses(model, batch)
        with torch.no_grad():
            torch.testing.assert_close(token_losses(model, batch), losses)
        found.append((losses.detach(), gradients(model, (losses * torch.arange(len(losses))).sum())))
    torch.testing.assert_close(found[0][0], found[1][0])
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-5, atol=1e-4)


def test_no_more_scores_than_that_are_held(tiny_config, batch, monkeypatch):
    model = create(tiny_config, seed=0)
    monkeypatch.setattr(chunked, "MAX_LOGITS", 7 * model.vocab_size)
    sizes, score = [], model.decoder.logits
    monkeypatch.setattr(model.decoder, "logits", lambda hidden: (sizes.append(len(hidden)), score(hidden))[1])
    cross_entropy_sum(model, batch).backward()
    assert max(sizes) == 7
    assert sum(sizes) == int((batch.targets_BT != IGNORED).sum())  # none is computed twice


@pytest.mark.parametrize("folder", ["gpt2_folder", "neox_folder"])
def test_models_of_transformers_too(request, batch, monkeypatch, folder):
    from turnwise.models import transformers_checkpoint

    model = transformers_checkpoint.load(request.getfixturevalue(folder))
    found = []
    for most in (2**40, 7 * model.vocab_size):
        monkeypatch.setattr(chunked, "MAX_LOGITS", most)
        loss = cross_entropy_sum(model, batch)
        found.append((loss.item(), gradients(model, loss)))
    assert model.head_parameters
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-4, atol=1e-4)


def test_a_model_that_bounds_its_scores_is_left_whole(neox_folder):
    from turnwise.models import transformers_checkpoint

    model = transformers_checkpoint.load(neox_folder)
    forward = model.module.forward

    def bounded(*arguments, **named):
        out = forward(*arguments, **named)
        out.logits = 3 * torch.tanh(out.logits)
        return out

    model.module.forward = bounded
    assert not model.head_parameters
