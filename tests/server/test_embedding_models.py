"""`/v1/embeddings` with an embedding model beside a chat model, through the official client."""

import httpx
import openai
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.app.embedding_services import open_embedding_service
from turnwise.core.errors import InvalidParameter, UserError
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

TEXTS = ["how do i reset my password?", "the lamp is broken", "hello", "hello world."]
PROMPTS = {"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": None}


@pytest.fixture(scope="module")
def url(make_bert_folder):
    folder = make_bert_folder(config_sentence_transformers=PROMPTS)
    embeddings = open_embedding_service(str(folder), threads=1)
    with (
        open_chat_service() as chat,
        serve_in_thread(create_app({"box": chat}, default="box", embedding_services={"tiny-bert": embeddings})) as url,
    ):
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as client:
        yield client


def embed(client, text="hello world.", **fields):
    """The vector of one text."""
    return client.embeddings.create(**{"model": "tiny-bert", "input": text, **fields}).data[0].embedding


def test_vectors_have_length_one_and_do_not_depend_on_the_batch(client):
    answer = client.embeddings.create(model="tiny-bert", input=TEXTS * 20)
    assert (answer.model, len(answer.data[0].embedding)) == ("tiny-bert", 32)
    for number in (0, 41, 79):
        vector = answer.data[number].embedding
        assert sum(value * value for value in vector) == pytest.approx(1)
        assert vector == embed(client, TEXTS[number % 4])


def test_the_model_of_the_request_selects_the_embeddings(client):
    assert len(embed(client, model="box")) == 256
    assert embed(client, model="latest") == embed(client)
    with pytest.raises(openai.NotFoundError, match="tiny-bert"):
        embed(client, model="other")
    with pytest.raises(openai.NotFoundError, match="embeddings only"):
        client.chat.completions.create(model="tiny-bert", messages=[{"role": "user", "content": "Hi"}])


def test_models_lists_it_as_a_model_for_embeddings(client, url):
    models = {model.id: model for model in client.models.list()}
    assert (models["tiny-bert"].task, models["tiny-bert"].max_model_len, models["box"].task) == (
        "embeddings",
        40,
        "chat",
    )
    assert client.models.retrieve("tiny-bert").task == "embeddings"


def test_the_input_type_selects_the_prefix_and_is_counted(client):
    default = client.embeddings.create(model="tiny-bert", input="hello")
    query, passage, document = (
        client.embeddings.create(model="tiny-bert", input="hello", extra_body={"input_type": input_type})
        for input_type in ("query", "passage", "document")
    )
    assert default.data[0].embedding == query.data[0].embedding != passage.data[0].embedding
    assert passage.data[0].embedding == document.data[0].embedding
    assert default.usage.prompt_tokens == len(["[CLS]", "query", ":", "hello", "[SEP]"])


def test_token_ids_are_embedded_without_a_prefix(client):
    answer = client.embeddings.create(model="tiny-bert", input=[[5, 6], [2, 5, 6, 3]])
    assert answer.data[0].embedding == answer.data[1].embedding
    assert answer.usage.prompt_tokens == 8


def test_a_long_input_is_an_error_unless_truncation_is_asked_for_and_then_it_is_reported(client, url):
    texts = ["hello", "lamp " * 60, "lamp " * 61]
    with pytest.raises(openai.BadRequestError, match="maximum context length is 40 tokens") as error:
        client.embeddings.create(model="tiny-bert", input=texts)
    assert (error.value.body["param"], error.value.body["code"]) == ("input", "context_length_exceeded")
    body = {"model": "tiny-bert", "input": texts, "truncate_prompt_tokens": -1}
    answer = httpx.post(f"{url}/embeddings", json=body).json()
    assert answer["usage"] == {"prompt_tokens": 85, "total_tokens": 85, "truncated_inputs": [1, 2]}
    assert answer["data"][1]["embedding"] == answer["data"][2]["embedding"]
    body["input"] = "hello"
    assert "truncated_inputs" not in httpx.post(f"{url}/embeddings", json=body).json()["usage"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"dimensions": 8}, "dimensions"),
        ({"extra_body": {"input_type": "song"}}, "input_type"),
        ({"extra_body": {"truncate_prompt_tokens": 41}}, "truncate_prompt_tokens"),
        ({"extra_body": {"truncate_prompt_tokens": -2}}, "truncate_prompt_tokens"),
        ({"extra_body": {"truncate_prompt_tokens": 0}}, "truncate_prompt_tokens"),
        ({"model": "box", "extra_body": {"truncate_prompt_tokens": -1}}, "truncate_prompt_tokens"),
        ({"input": [10**6]}, "input"),
    ],
)
def test_an_invalid_field_is_rejected_with_its_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(**{"model": "tiny-bert", "input": "hello", **fields})
    assert error.value.body["param"] == param


def test_requests_and_their_tokens_are_counted_in_the_metrics(client, url):
    def values():
        lines = httpx.get(f"{url.removesuffix('/v1')}/metrics").text.splitlines()
        counters = [line.rsplit(" ", 1) for line in lines if "tiny-bert" in line and "_total{" in line]
        return {name: float(value) for name, value in counters}

    before = values()
    usage = client.embeddings.create(model="tiny-bert", input="hello world.").usage
    increases = {value - before.get(name, 0) for name, value in values().items()}
    assert increases >= {1, usage.prompt_tokens}


def test_a_model_that_is_not_an_encoder_is_rejected(model_folder, make_bert_folder):
    with pytest.raises(UserError, match="model_type"):
        open_embedding_service(str(model_folder))
    with pytest.raises(InvalidParameter, match="int8"):
        open_embedding_service(str(make_bert_folder()), quantize="int4")


@pytest.mark.slow
@pytest.mark.parametrize(("quantize", "min_cosine"), [(None, 0.99999), ("int8", 0.99)])
def test_minilm_has_the_vectors_of_transformers(minilm_folder, quantize, min_cosine):
    import asyncio

    import numpy as np
    import torch
    import transformers

    from turnwise.core.embedding_service import EmbeddingRequest

    texts = [
        *TEXTS,
        "Where is my order? It's late!",
        "Ein Zimmer mit Frühstück",
        "今天天气怎么样？",
        "x " * 400,
    ]
    service = open_embedding_service(str(minilm_folder), quantize=quantize)
    result = asyncio.run(service.embed(EmbeddingRequest(texts, truncate_prompt_tokens=-1)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_folder)
    model = transformers.AutoModel.from_pretrained(minilm_folder).eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden_BTC = model(**batch).last_hidden_state
    mask_BT1 = batch["attention_mask"][..., None].float()
    expected = torch.nn.functional.normalize((hidden_BTC * mask_BT1).sum(1) / mask_BT1.sum(1), dim=-1).numpy()
    assert (np.array(result.vectors) * expected).sum(axis=1).min() > min_cosine
    assert list(result.truncated) == [len(texts) - 1]
    assert result.prompt_tokens == int(batch["attention_mask"].sum())
