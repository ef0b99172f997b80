"""An encoder–decoder model behind the same API."""

import openai
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_names import resolve_model_folder
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread
from turnwise.text.tokenization.tokenizer import Tokenizer

HELLO = [{"role": "user", "content": "Hello, who are you?"}]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    tokenizer = Tokenizer.load(resolve_model_folder("box"))
    tokenizer.save(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=tokenizer.vocab_size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, n_positions=96,
        decoder_start_token_id=0, eos_token_id=min(tokenizer.stop_ids), pad_token_id=0, initializer_factor=3.0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    with (
        open_chat_service(str(folder), name="t5") as service,
        serve_in_thread(create_app({"t5": service}, default="t5")) as url,
    ):
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)


def create(client, **fields):
    extensions = {name: fields.pop(name) for name in list(fields) if name in ("num_beams", "guided_choice")}
    arguments = {"model": "t5", "messages": HELLO, "max_tokens": 12, **fields}
    return client.chat.completions.create(**arguments, extra_body=extensions)


def test_a_stream_has_the_same_content_as_the_response(client):
    response = create(client, seed=5, logprobs=True)
    assert response.usage.completion_tokens == len(response.choices[0].logprobs.content) > 0
    assert response.usage.prompt_tokens > 5
    chunks = list(create(client, seed=5, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == response.choices[0].message.content


def test_grammars_and_beam_search_work(client):
    assert create(client, guided_choice=["yes", "no"], max_tokens=30).choices[0].message.content in ("yes", "no")
    beams = create(client, num_beams=4, n=2)
    assert beams.choices[0].message.content != beams.choices[1].message.content


@pytest.mark.parametrize("policy", ["drop_oldest", "summarise"])
def test_a_context_policy_shortens_the_encoder_input_only(client, policy):
    history = [{"role": role, "content": f"{role} {i}"} for i in range(40) for role in ("user", "assistant")]
    answer = client.chat.completions.create(
        model="t5", messages=[*history, *HELLO], max_tokens=90, seed=1, extra_body={"context_policy": policy}
    )
    assert 0 < answer.model_extra["context"]["dropped_messages"] < 80
    if policy == "drop_oldest":
        assert answer.usage.prompt_tokens > 96 - 90


def test_unsupported_fields_are_rejected(client):
    talk = [*HELLO, {"role": "assistant", "content": "I am"}]
    with pytest.raises(openai.BadRequestError, match="cannot continue a message"):
        client.chat.completions.create(model="t5", messages=talk, extra_body={"continue_final_message": True})
    with pytest.raises(openai.BadRequestError, match="not supported for encoder-decoders"):
        client.completions.create(model="t5", prompt="Hello", max_tokens=0, echo=True, logprobs=0)
    with pytest.raises(openai.BadRequestError, match="maximum context length is 96 tokens") as error:
        create(client, messages=[{"role": "user", "content": "word " * 200}])
    assert error.value.code == "context_length_exceeded"


def test_the_attention_of_an_encoder_decoder_is_rejected(client):
    with pytest.raises(openai.BadRequestError, match="The attention of this model cannot be shown"):
        client.post("/attention", body={"model": "t5", "messages": HELLO}, cast_to=object)
