"""Sampling presets: defaults for parameters that neither the request nor the model sets."""

import pytest

from turnwise.core.chat_request import ChatRequest
from turnwise.core.messages import Message
from turnwise.core.sampling_presets import CHAT_MAX_TOKENS, CHAT_SAMPLING, apply_sampling_preset

HELLO = (Message("user", "Hello"),)


def test_the_api_preset_has_the_published_defaults():
    assert apply_sampling_preset("api", {}) == {}
    assert apply_sampling_preset("api", {"top_k": 20}) == {"top_k": 20}


def test_the_chat_preset_sets_missing_parameters():
    assert apply_sampling_preset("chat", {}) == {**CHAT_SAMPLING, "max_tokens": CHAT_MAX_TOKENS}


@pytest.mark.parametrize(
    "model_defaults", [{"temperature": 0.3}, {"temperature": 1.0}, {"top_p": 0.9}, {"top_k": 20}, {"num_beams": 4}]
)
def test_sampling_defaults_of_the_model_replace_those_of_the_preset(model_defaults):
    assert apply_sampling_preset("chat", model_defaults) == {**model_defaults, "max_tokens": CHAT_MAX_TOKENS}


@pytest.mark.parametrize("model_defaults", [{"repetition_penalty": 1.1}, {"max_tokens": 50}])
def test_other_defaults_of_the_model_are_added_to_the_preset(model_defaults):
    assert apply_sampling_preset("chat", model_defaults) == {
        "max_tokens": CHAT_MAX_TOKENS,
        **CHAT_SAMPLING,
        **model_defaults,
    }


def test_request_parameters_override_the_preset(says):
    service = says("Hi")
    api = service.build_request(ChatRequest(HELLO)).params
    chat = service.build_request(ChatRequest(HELLO, preset="chat")).params
    overridden = service.build_request(ChatRequest(HELLO, {"temperature": 1.5, "max_tokens": 7}, preset="chat"))
    assert (api.temperature, api.min_p) == (1.0, 0.0)
    assert (chat.temperature, chat.min_p) == (CHAT_SAMPLING["temperature"], CHAT_SAMPLING["min_p"])
    assert (overridden.params.temperature, overridden.params.min_p, overridden.max_tokens) == (
        1.5,
        CHAT_SAMPLING["min_p"],
        7,
    )


def test_the_chat_preset_limits_the_response_length_within_the_context(says):
    small, large = says("Hi", context_length=200), says("Hi", context_length=5000)
    request = small.build_request(ChatRequest(HELLO, preset="chat"))
    assert len(request.prompt_ids) + request.max_tokens == 200
    assert large.build_request(ChatRequest(HELLO, preset="chat")).max_tokens == CHAT_MAX_TOKENS
    assert large.build_request(ChatRequest(HELLO)).max_tokens > CHAT_MAX_TOKENS
