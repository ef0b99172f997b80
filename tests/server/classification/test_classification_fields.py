"""Fields of `/v1/classify` and `/v1/tag` that are rejected, and the OpenAPI document."""

import httpx
import pytest
from classification_requests import labels_of

from turnwise.server.schema import classification_bodies


@pytest.mark.parametrize("route", ["classify", "tag"])
@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"input": ""}, "input", "a string or a list of strings"),
        ({"input": []}, "input", "a string or a list of strings"),
        ({"input": ["a", ""]}, "input", "a string or a list of strings"),
        ({"input": [1, 2]}, "input", "a string or a list of strings"),
        ({"input": {"text": "a"}}, "input", "a string or a list of strings"),
        ({"input": ["a"] * 2049}, "input", "at most 2048 entries, got 2049"),
        ({"threshold": 1.01}, "threshold", "between 0 and 1"),
        ({"threshold": -0.01}, "threshold", "between 0 and 1"),
        ({"threshold": "high"}, "threshold", "a number"),
        ({"user": "x" * 4097}, "user", "at most 4096 characters"),
        ({"thresold": 0.5}, "thresold", "did you mean 'threshold'?"),
        ({"model": 5}, "model", "must be a string"),
    ],
)
def test_an_invalid_field_is_rejected_with_its_name(post, route, fields, param, reason):
    answer = post(route, **{"model": "latest", "input": "Ada", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert reason in answer.json()["error"]["message"]


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True, "all"])
def test_top_k_is_a_positive_whole_number(post, top_k):
    error = post("classify", model="moods", input="Ada", top_k=top_k).json()["error"]
    assert (error["param"], error["code"]) == ("top_k", "invalid_parameter")


def test_tagging_has_no_top_k(post):
    assert post("tag", model="names", input="Ada", top_k=1).json()["error"]["param"] == "top_k"


@pytest.mark.parametrize("field", ["input", "model"])
@pytest.mark.parametrize("route", ["classify", "tag"])
def test_a_missing_field_is_named(post, route, field):
    error = post(route, **({"model": "latest"} if field == "input" else {"input": "Ada"})).json()["error"]
    assert (error["param"], error["code"]) == (field, "missing_required_parameter")


def test_a_response_has_a_bounded_number_of_scores(post, monkeypatch):
    monkeypatch.setattr("turnwise.server.routes.classification.MAX_SCORES", 8)
    assert len(labels_of(post, ["Ada"] * 2)) == 2
    error = post("classify", model="moods", input=["Ada"] * 3).json()["error"]
    assert error["param"] == "input"
    assert "3 texts with 3 scores each" in error["message"]
    assert len(labels_of(post, ["Ada"] * 3, top_k=2)) == 3
    assert "fewer texts" in post("classify", model="topics", input=["Ada"] * 3, top_k=1).json()["error"]["message"]
    assert classification_bodies.MAX_SCORES > classification_bodies.MAX_INPUTS


def test_the_openapi_document_describes_the_routes(url):
    document = httpx.get(f"{url}/openapi.json").json()
    for path, request, response in (
        ("/v1/classify", "ClassifyRequest", "ClassifyResponse"),
        ("/v1/tag", "TagRequest", "TagResponse"),
    ):
        operation = document["paths"][path]["post"]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith(request)
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(response)
    assert document["components"]["schemas"]["ClassifyRequest"]["properties"]["threshold"]["maximum"] == 1
