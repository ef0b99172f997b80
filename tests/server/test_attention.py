"""`POST /v1/attention` with a real model."""

import httpx
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_names import resolve_model_folder
from turnwise.core.steps import run_steps
from turnwise.models.attention_weights import last_token_attention
from turnwise.models.checkpoint import Checkpoint
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread

MESSAGES = [{"role": "user", "content": "Where is my parcel? 包裹在哪里？"}]
REQUEST = {"model": "box", "messages": MESSAGES}


@pytest.fixture(scope="module")
def client():
    with (
        open_chat_service("box", max_num_seqs=8) as service,
        serve_in_thread(create_app({"box": service, "scripted": ScriptedChatService()}, default="box")) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def attention(client, **fields):
    response = client.post("/v1/attention", json=REQUEST | fields)
    assert response.status_code == 200, response.text
    return response.json()


def error(client, status=400, **fields):
    response = client.post("/v1/attention", json=REQUEST | fields)
    assert response.status_code == status, response.text
    return response.json()["error"]


def weights(body):
    return [token["weight"] for token in body["tokens"]]


def test_the_context_is_the_rendered_prompt_with_the_start_of_the_answer(client):
    prompt = client.post("/tokenize", json=REQUEST | {"add_generation_prompt": True}).json()["tokens"]
    body = attention(client, answer_tokens=[300, 301])
    assert [token["id"] for token in body["tokens"]] == [*prompt, 300, 301]
    written = b"".join(bytes(token["bytes"]) for token in body["tokens"] if token["bytes"]).decode()
    assert MESSAGES[0]["content"] in written
    assert body["model"] == "turnwise-box"


def test_the_weights_are_those_of_the_decoder(client):
    body = attention(client, layer=1, head=2)
    ids = [token["id"] for token in body["tokens"]]
    expected_NHT = run_steps(last_token_attention(Checkpoint(resolve_model_folder("box")), ids))
    assert expected_NHT.shape[:2] == (body["num_layers"], body["num_heads"])
    assert weights(body) == pytest.approx(expected_NHT[1, 2].tolist(), abs=1e-6)
    assert sum(weights(body)) == pytest.approx(1)


def test_without_a_head_the_weights_are_the_mean_of_all_heads(client):
    mean = attention(client, layer=0)
    assert mean["head"] is None
    heads = [weights(attention(client, layer=0, head=head)) for head in range(mean["num_heads"])]
    assert weights(mean) == pytest.approx([sum(column) / len(heads) for column in zip(*heads, strict=True)], abs=1e-6)


def test_without_a_layer_the_weights_are_those_of_the_last_one(client):
    body = attention(client)
    assert body["layer"] == body["num_layers"] - 1
    assert body == attention(client, layer=body["layer"])


@pytest.mark.parametrize(
    ("field", "value"), [("layer", 10_000), ("layer", -1), ("layer", "1"), ("head", 10_000), ("answer_tokens", [2**30])]
)
def test_a_value_that_the_model_does_not_have_is_rejected_by_name(client, field, value):
    assert error(client, **{field: value})["param"] == field


def test_sampling_parameters_have_no_effect_and_are_rejected(client):
    assert error(client, temperature=0.5)["param"] == "temperature"


def test_a_model_without_attention_says_so_in_one_sentence(client):
    assert error(client, model="scripted")["message"].startswith("The attention of this model cannot be shown: ")
