"""`/v1/embeddings` with a real model, through the official client."""

import base64
import struct

import httpx
import openai
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

TEXTS = ["I want to cancel my order", "please cancel the order", "My name is Anna", "Tell me a joke"]


@pytest.fixture(scope="module")
def service():
    with open_chat_service() as service:
        yield service


@pytest.fixture(scope="module")
def url(service):
    with serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as client:
        yield client


def similarity(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


def test_embeddings_have_length_one_and_similar_texts_are_close(client):
    answer = client.embeddings.create(model="box", input=TEXTS)
    vectors = [entry.embedding for entry in answer.data]
    assert [entry.index for entry in answer.data] == [0, 1, 2, 3]
    assert [similarity(v, v) for v in vectors] == pytest.approx([1] * 4, abs=1e-5)
    near = similarity(vectors[0], vectors[1])
    assert near > similarity(vectors[0], vectors[2])
    assert near > similarity(vectors[0], vectors[3])


def test_the_embedding_of_a_text_does_not_depend_on_the_batch_or_the_form_of_the_input(client, service):
    together = client.embeddings.create(model="box", input=TEXTS * 20)
    for number in (0, 41, 79):
        alone = client.embeddings.create(model="box", input=TEXTS[number % 4])
        assert alone.data[0].embedding == together.data[number].embedding
    ids = service.tokens.encode_text(TEXTS[0])
    by_ids = client.embeddings.create(model="box", input=ids)
    assert by_ids.data[0].embedding == together.data[0].embedding
    assert by_ids.usage.prompt_tokens == by_ids.usage.total_tokens == len(ids)


def test_both_encodings_have_the_same_values(url):
    """The official client requests base64; other clients request numbers."""
    ask = {"model": "box", "input": "Hello"}
    numbers = httpx.post(f"{url}/embeddings", json=ask).json()["data"][0]["embedding"]
    packed = httpx.post(f"{url}/embeddings", json={**ask, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert struct.unpack(f"<{len(numbers)}f", base64.b64decode(packed)) == pytest.approx(numbers)


def test_dimensions_may_be_the_size_of_the_model(client):
    vector = client.embeddings.create(model="box", input="Hello", dimensions=256).data[0].embedding
    assert len(vector) == 256


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [["a"]]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": [10**6]}, "input"),
        ({"dimensions": 8}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"extra_body": {"instruction": "x"}}, "instruction"),
        ({"input": "a b c " * 2000}, "input"),
    ],
)
def test_an_invalid_field_is_rejected_with_its_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(**{"model": "box", "input": "Hello", **fields})
    assert error.value.body["param"] == param


@pytest.mark.costly
def test_the_published_maximum_number_of_inputs_is_accepted(client):
    """LangChain sends 1000 chunks at once, Vercel's provider 2048."""
    answer = client.embeddings.create(model="box", input=[f"a {number % 7}" for number in range(2048)])
    assert [entry.index for entry in answer.data] == list(range(2048))
    assert answer.data[7].embedding == answer.data[0].embedding != answer.data[1].embedding
