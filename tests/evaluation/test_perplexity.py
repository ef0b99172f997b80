"""The batched reference for perplexity equals a token-by-token computation."""

import math

import pytest
import torch
from torch.nn import functional as F

from torch_reference.perplexity import Perplexity, measure_perplexity
from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.models.checkpoint import create


def dialogue(*texts):
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[index % 2], text) for index, text in enumerate(texts)))


DIALOGUES = [
    dialogue("Hello", "How can I help you today?", "The lamp is broken", "I'd like to order a new one. 🚚"),
    dialogue("你好", "请问我能帮你什么忙?"),
    dialogue("Nobody answers this"),
    dialogue("Order 1234567", "It costs 19.99 €."),
]


@pytest.fixture
def model(tiny_model):
    return tiny_model.decoder


@torch.no_grad()
def measure_token_by_token(model, renderer, dialogues):
    """Negative log-likelihood in nats, tokens and bytes of all replies, with one forward pass per token."""
    nats, num_tokens, num_bytes = 0.0, 0, 0
    for conversation in dialogues:
        for index, message in enumerate(conversation.messages):
            if message.role != "assistant":
                continue
            ids = renderer.render(conversation.messages[:index], add_generation_prompt=True).ids
            for token in [*renderer.tokenizer.encode(message.content), renderer.tokenizer.eos_token_id]:
                logits_V = model.logits(model(torch.tensor([ids])))[0, -1]
                nats -= F.log_softmax(logits_V, dim=0)[token].item()
                ids = [*ids, token]
                num_tokens += 1
            num_bytes += len(message.content.encode())
    return nats, num_tokens, num_bytes


def test_perplexity_equals_a_token_by_token_computation(model, renderer):
    perplexity = measure_perplexity(model, renderer, DIALOGUES)
    nats, num_tokens, num_bytes = measure_token_by_token(model, renderer, DIALOGUES)
    assert perplexity.nats == pytest.approx(nats, rel=1e-5)
    assert (perplexity.tokens, perplexity.bytes) == (num_tokens, num_bytes)


def test_batching_does_not_change_the_sums(model, renderer):
    """The dialogues have different lengths and fill more than one batch."""
    dialogues = [dialogue("Hello " * (index % 7 + 1), "order " * (index % 5 + 1)) for index in range(19)]
    single = [measure_perplexity(model, renderer, [item]) for item in dialogues]
    batched = measure_perplexity(model, renderer, dialogues)
    assert batched.nats == pytest.approx(sum(perplexity.nats for perplexity in single), rel=1e-6)
    assert batched.tokens == sum(perplexity.tokens for perplexity in single)
    assert batched.bytes == sum(perplexity.bytes for perplexity in single)


def test_perplexity_per_token_and_per_byte_are_consistent():
    perplexity = Perplexity(nats=120.0, tokens=40, bytes=160)
    assert perplexity.per_token == pytest.approx(math.exp(3))
    assert perplexity.per_byte == pytest.approx(math.exp(0.75))
    nats_by_token = math.log(perplexity.per_token) * perplexity.tokens
    assert nats_by_token == pytest.approx(math.log(perplexity.per_byte) * perplexity.bytes)
    assert 2**perplexity.bits_per_byte == pytest.approx(perplexity.per_byte)


def test_a_uniform_model_has_the_size_of_its_vocabulary_as_perplexity(tiny_config, renderer):
    model = create(tiny_config).decoder
    with torch.no_grad():
        model.embed.weight.zero_()
    perplexity = measure_perplexity(model, renderer, DIALOGUES)
    assert perplexity.per_token == pytest.approx(tiny_config.vocab_size)


def test_a_very_large_loss_does_not_overflow():
    assert Perplexity(nats=1e6, tokens=10, bytes=10).per_token > 1e300


def test_a_reply_beyond_the_context_counts_neither_tokens_nor_bytes(model, renderer):
    short = dialogue("Hello", "How can I help you today?")
    long = Conversation((*short.messages, Message("user", "order"), Message("assistant", "the lamp " * 80)))
    assert len(renderer.render(long.messages).ids) > model.config.context_length
    expected, perplexity = measure_perplexity(model, renderer, [short]), measure_perplexity(model, renderer, [long])
    assert (perplexity.tokens, perplexity.bytes) == (expected.tokens, expected.bytes)
    assert perplexity.nats == pytest.approx(expected.nats, rel=1e-5)


def test_progress_counts_dialogues(model, renderer):
    progress = []
    measure_perplexity(model, renderer, [dialogue("Hello", "Hi")] * 19, progress.append)
    assert progress == [8, 16, 19]


def test_data_without_assistant_turns_is_rejected(model, renderer):
    with pytest.raises(InvalidData, match="no conversation has an assistant turn"):
        measure_perplexity(model, renderer, [dialogue("Anybody?")])
