"""Chunked cross-entropy has the same loss and gradient, and never stores all logits."""

from dataclasses import replace

import pytest
import torch

from turnwise.models.checkpoint import create
from turnwise.training import chunked_cross_entropy as chunked
from turnwise.training.examples.example import IGNORED
from turnwise.training.log_probs import cross_entropy_sum, token_losses, token_losses_and_logits

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def batch(trainer, recipe):
    run = trainer(recipe())
    batch_on_cpu = run.data.train.batch(run.data.train.rows()[:4])
    weights = torch.rand(batch_on_cpu.targets_BT.shape, generator=torch.Generator().manual_seed(0))
    return replace(batch_on_cpu, weights_BT=weights)


def gradients(model, loss):
    model.module.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.module.named_parameters()}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_equal_those_of_one_chunk(tiny_config, batch, monkeypatch, tied, dtype):
    model = create(replace(tiny_config, tied=tied), seed=0)
    results = []
    for max_logits in (2**40, 7 * model.vocab_size):
        monkeypatch.setattr(chunked, "MAX_LOGITS", max_logits)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = cross_entropy_sum(model, batch)
        results.append((loss.item(), gradients(model, loss)))
    (full_loss, full_gradients), (chunked_loss, chunked_gradients) = results
    bound = 1e-6 if dtype == torch.float32 else 1e-2
    assert chunked_loss == pytest.approx(full_loss, rel=bound)
    for name, gradient in full_gradients.items():
        assert (chunked_gradients[name] - gradient).abs().max() <= bound * gradient.abs().max(), name


def test_the_loss_of_every_target_equals_that_of_one_chunk(tiny_config, batch, monkeypatch):
    """Preference objectives sum the losses of each segment."""
    model = create(tiny_config, seed=0)
    results = []
    for max_logits in (2**40, 7 * model.vocab_size):
        monkeypatch.setattr(chunked, "MAX_LOGITS", max_logits)
        losses = token_losses(model, batch)
        with torch.no_grad():
            torch.testing.assert_close(token_losses(model, batch), losses)
        results.append((losses.detach(), gradients(model, (losses * torch.arange(len(losses))).sum())))
    torch.testing.assert_close(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], gradient, rtol=1e-5, atol=1e-4)


def test_losses_and_logits_equal_those_of_one_chunk(tiny_config, batch, monkeypatch):
    model = create(tiny_config, seed=0)
    results = []
    for max_logits in (2**40, 7 * model.vocab_size):
        monkeypatch.setattr(chunked, "MAX_LOGITS", max_logits)
        losses, logits = token_losses_and_logits(model, batch)
        torch.testing.assert_close(losses, token_losses(model, batch))
        with torch.no_grad():
            torch.testing.assert_close(token_losses_and_logits(model, batch), (losses, logits))
        loss = (losses * torch.arange(len(losses)) + logits.square()).sum()
        results.append((losses.detach(), logits.detach(), gradients(model, loss)))
    torch.testing.assert_close(results[0][:2], results[1][:2])
    for name, gradient in results[0][2].items():
        torch.testing.assert_close(results[1][2][name], gradient, rtol=1e-5, atol=1e-4)


def test_no_chunk_has_more_logits_than_the_limit(tiny_config, batch, monkeypatch):
    model = create(tiny_config, seed=0)
    monkeypatch.setattr(chunked, "MAX_LOGITS", 7 * model.vocab_size)
    sizes, score = [], model.decoder.logits
    monkeypatch.setattr(model.decoder, "logits", lambda hidden: (sizes.append(len(hidden)), score(hidden))[1])
    cross_entropy_sum(model, batch).backward()
    assert max(sizes) == 7
    assert sum(sizes) == int((batch.targets_BT != IGNORED).sum())  # none is computed twice


@pytest.mark.parametrize("folder", ["gpt2_folder", "neox_folder"])
def test_models_loaded_by_transformers_have_the_same_loss(request, batch, monkeypatch, folder):
    from turnwise.models import transformers_checkpoint

    model = transformers_checkpoint.load(request.getfixturevalue(folder))
    results = []
    for max_logits in (2**40, 7 * model.vocab_size):
        monkeypatch.setattr(chunked, "MAX_LOGITS", max_logits)
        loss = cross_entropy_sum(model, batch)
        results.append((loss.item(), gradients(model, loss)))
    assert model.head_parameters
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-6)
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], gradient, rtol=1e-4, atol=1e-4)


def test_a_model_that_caps_its_logits_keeps_its_own_head(neox_folder):
    from turnwise.models import transformers_checkpoint

    model = transformers_checkpoint.load(neox_folder)
    forward = model.module.forward

    def bounded(*arguments, **named):
        out = forward(*arguments, **named)
        out.logits = 3 * torch.tanh(out.logits)
        return out

    model.module.forward = bounded
    assert not model.head_parameters
