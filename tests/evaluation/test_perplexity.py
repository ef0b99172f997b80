"""Perplexity: what is slow and obvious, computed quickly."""

import math

import pytest
import torch
from torch.nn import functional as F

from torch_reference.perplexity import Perplexity, measure_perplexity
from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.models.checkpoint import create


def talk(*texts):
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)))


TALKS = [
    talk("Hello", "How can I help you today?", "The lamp is broken", "I'd like to order a new one. 🚚"),
    talk("你好", "请问我能帮你什么忙?"),
    talk("Nobody answers this"),
    talk("Order 1234567", "It costs 19.99 €."),
]


@pytest.fixture
def model(tiny_model):
    return tiny_model.decoder


@torch.no_grad()
def slowly(model, renderer, talks):
    """Token by token, reply by reply."""
    nats, tokens, size = 0.0, 0, 0
    for conversation in talks:
        for i, message in enumerate(conversation.messages):
            if message.role != "assistant":
                continue
            said = renderer.render(conversation.messages[:i], add_generation_prompt=True).ids
            for token in [*renderer.tokenizer.encode(message.content), renderer.tokenizer.eos_token_id]:
                nats -= F.log_softmax(model.logits(model(torch.tensor([said])))[0, -1], dim=0)[token].item()
                said = [*said, token]
                tokens += 1
            size += len(message.content.encode())
    return nats, tokens, size


def test_it_is_what_a_slow_and_obvious_computation_gives(model, renderer):
    found = measure_perplexity(model, renderer, TALKS)
    nats, tokens, size = slowly(model, renderer, TALKS)
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert (found.tokens, found.bytes) == (tokens, size)


def test_dialogues_together_are_dialogues_one_by_one(model, renderer):
    """More than a batch, of different lengths."""
    talks = [talk("Hello " * (i % 7 + 1), "order " * (i % 5 + 1)) for i in range(19)]
    one_by_one = [measure_perplexity(model, renderer, [t]) for t in talks]
    together = measure_perplexity(model, renderer, talks)
    assert together.nats == pytest.approx(sum(one.nats for one in one_by_one), rel=1e-6)
    assert together.tokens == sum(one.tokens for one in one_by_one)
    assert together.bytes == sum(one.bytes for one in one_by_one)


def test_per_byte_and_per_token_are_the_same_surprise():
    found = Perplexity(nats=120.0, tokens=40, bytes=160)
    assert found.per_token == pytest.approx(math.exp(3))
    assert found.per_byte == pytest.approx(math.exp(0.75))
    assert math.log(found.per_token) * found.tokens == pytest.approx(math.log(found.per_byte) * found.bytes)
    assert 2**found.bits_per_byte == pytest.approx(found.per_byte)


def test_a_model_that_knows_nothing_is_as_surprised_as_a_fair_die(tiny_config, renderer):
    model = create(tiny_config).decoder
    with torch.no_grad():
        model.embed.weight.zero_()
    assert measure_perplexity(model, renderer, TALKS).per_token == pytest.approx(tiny_config.vocab_size)


def test_a_hopeless_model_has_a_large_number_and_no_overflow():
    assert Perplexity(nats=1e6, tokens=10, bytes=10).per_token > 1e300


def test_a_reply_that_does_not_fit_counts_neither_tokens_nor_bytes(model, renderer):
    short = talk("Hello", "How can I help you today?")
    long = Conversation((*short.messages, Message("user", "order"), Message("assistant", "the lamp " * 80)))
    assert len(renderer.render(long.messages).ids) > model.config.context_length
    one, other = measure_perplexity(model, renderer, [short]), measure_perplexity(model, renderer, [long])
    assert (one.tokens, one.bytes) == (other.tokens, other.bytes)
    assert one.nats == pytest.approx(other.nats, rel=1e-5)


def test_progress_is_told_in_dialogues(model, renderer):
    seen = []
    measure_perplexity(model, renderer, [talk("Hello", "Hi")] * 19, seen.append)
    assert seen == [8, 16, 19]


def test_nothing_to_measure_is_said(model, renderer):
    with pytest.raises(InvalidData, match="no conversation has an assistant turn"):
        measure_perplexity(model, renderer, [talk("Anybody?")])
