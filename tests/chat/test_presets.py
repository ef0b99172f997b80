"""Sampling presets: what is used where neither the request nor the model says anything."""

import pytest

from turnwise.core.chat_request import ChatRequest
from turnwise.core.messages import Message
from turnwise.core.sampling_presets import CHAT_MAX_TOKENS, CHAT_SAMPLING, apply_sampling_preset

HELLO = (Message("user", "Hello"),)


def test_the_api_keeps_the_published_defaults():
    assert apply_sampling_preset("api", {}) == {}
    assert apply_sampling_preset("api", {"top_k": 20}) == {"top_k": 20}


def test_chat_fills_in_where_the_model_is_silent():
    assert apply_sampling_preset("chat", {}) == {**CHAT_SAMPLING, "max_tokens": CHAT_MAX_TOKENS}


@pytest.mark.parametrize(
    "own", [{"temperature": 0.3}, {"temperature": 1.0}, {"top_p": 0.9}, {"top_k": 20}, {"num_beams": 4}]
)
def test_a_model_that_says_how_it_is_sampled_keeps_exactly_that(own):
    assert apply_sampling_preset("chat", own) == {**own, "max_tokens": CHAT_MAX_TOKENS}


@pytest.mark.parametrize("own", [{"repetition_penalty": 1.1}, {"max_tokens": 50}])
def test_what_does_not_choose_among_tokens_does_not_replace_the_sampling(own):
    assert apply_sampling_preset("chat", own) == {"max_tokens": CHAT_MAX_TOKENS, **CHAT_SAMPLING, **own}


def test_the_request_wins_over_the_preset(says):
    service = says("Hi")
    plain = service.build_request(ChatRequest(HELLO)).params
    chat = service.build_request(ChatRequest(HELLO, preset="chat")).params
    chosen = service.build_request(ChatRequest(HELLO, {"temperature": 1.5, "max_tokens": 7}, preset="chat"))
    assert (plain.temperature, plain.min_p) == (1.0, 0.0)
    assert (chat.temperature, chat.min_p) == (CHAT_SAMPLING["temperature"], CHAT_SAMPLING["min_p"])
    assert (chosen.params.temperature, chosen.params.min_p, chosen.max_tokens) == (1.5, CHAT_SAMPLING["min_p"], 7)


def test_the_bound_on_length_holds_and_never_refuses_what_fits_without_it(says):
    small, large = says("Hi", context_length=200), says("Hi", context_length=5000)
    request = small.build_request(ChatRequest(HELLO, preset="chat"))
    assert len(request.prompt_ids) + request.max_tokens == 200
    assert large.build_request(ChatRequest(HELLO, preset="chat")).max_tokens == CHAT_MAX_TOKENS
    assert large.build_request(ChatRequest(HELLO)).max_tokens > CHAT_MAX_TOKENS
