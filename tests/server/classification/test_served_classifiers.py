"""Which classifiers are served, under which names; what the metrics and the access log say of a request."""

import httpx
import pytest
from classification_requests import CONFIGS

from annotated_data import write_classifier
from turnwise.app.classifiers import open_classification_service
from turnwise.core.errors import UserError
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.mark.parametrize(
    ("route", "model", "message"),
    [
        ("classify", "scripted", "'scripted' is a chat model, not a classifier. Served here: moods, topics."),
        ("tag", "scripted", "'scripted' is a chat model, not a tagger. Served here: names."),
        ("classify", "names", "The model 'names' tags words only (POST /v1/tag)."),
        ("tag", "moods", "The model 'moods' classifies texts only (POST /v1/classify)."),
        ("chat/completions", "moods", "The model 'moods' classifies texts only (POST /v1/classify)."),
        ("chat/completions", "names", "The model 'names' tags words only (POST /v1/tag)."),
        ("embeddings", "moods", "The model 'moods' classifies texts only (POST /v1/classify)."),
        ("classify", "other", "The model 'other' is not served here. Served models: moods, topics, latest, stable."),
        ("tag", "other", "The model 'other' is not served here. Served models: names, latest, stable."),
    ],
)
def test_a_model_of_another_kind_is_rejected_with_the_route_that_it_is_for(post, route, model, message):
    text = {"messages": [{"role": "user", "content": "Hi"}]} if route == "chat/completions" else {"input": "Ada"}
    answer = post(route, model=model, **text)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["message"] == message


def test_latest_is_the_first_model_of_the_route(post):
    assert post("classify", model="latest", input="Ada").json()["model"] == "moods"
    assert post("tag", model="stable", input="Ada").json()["model"] == "names"


@pytest.mark.parametrize(("route", "noun"), [("classify", "classifier"), ("tag", "tagger")])
def test_a_server_without_classifiers_says_how_to_serve_one(route, noun):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as url:
        for model, problem in (
            ("latest", f"No {noun} is served here"),
            ("moods", f"No {noun} is served here"),
            ("scripted", f"'scripted' is a chat model, not a {noun}"),
        ):
            answer = httpx.post(f"{url}/v1/{route}", json={"model": model, "input": "Ada"})
            assert answer.status_code == 404
            assert answer.json()["error"]["message"] == (
                f"{problem}. To serve a {noun}, start the server with --classifier FOLDER."
            )


def test_models_lists_classifiers_with_their_task(url):
    models = {model["id"]: model for model in httpx.get(f"{url}/v1/models").json()["data"]}
    tasks = {name: model["task"] for name, model in models.items()}
    assert tasks == {"scripted": "chat", **{name: config.task for name, config in CONFIGS.items()}}
    assert httpx.get(f"{url}/v1/models/names").json() == models["names"]
    assert models["moods"]["max_model_len"] == 64


def test_requests_are_counted_and_logged_without_their_texts(url, post, caplog):
    def values():
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}

    before = values()
    with caplog.at_level("INFO", logger="turnwise.access"):
        tokens = post("classify", model="moods", input="secret words", user="me").json()["usage"]["prompt_tokens"]
        post("tag", model="names", input="secret words")
    after = values()

    def increase(name):
        return after[name] - before.get(name, 0)

    assert increase('turnwise_prompt_tokens_total{model="moods"}') == tokens
    for model in ("moods", "names"):
        assert increase(f'turnwise_completions_total{{finish="stop",model="{model}"}}') == 1
    assert increase('turnwise_requests_total{method="POST",route="/v1/tag",status="200"}') == 1
    fields = [record.fields for record in caplog.records if record.name == "turnwise.access"]
    assert [entry["model"] for entry in fields[:2]] == ["moods", "names"]
    assert (fields[0]["user"], fields[0]["prompt_tokens"], fields[0]["finish"]) == ("me", tokens, "stop")
    assert "secret" not in caplog.text + str(fields)


def test_a_damaged_head_is_a_server_error_with_a_reason(tmp_path, tokenizer, one_thread):
    import torch

    folder = write_classifier(tmp_path / "moods", tokenizer, CONFIGS["moods"])
    service = open_classification_service(str(folder), threads=1)
    with torch.no_grad():
        service.classifier.engine._head.linear.bias.fill_(torch.nan)
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", classifiers={"moods": service})
    with serve_in_thread(app) as url:
        answer = httpx.post(f"{url}/v1/classify", json={"model": "moods", "input": "Ada"})
        assert answer.status_code == 500
        assert "not finite" in answer.json()["error"]["message"]


def test_a_model_that_is_no_classifier_is_rejected(model_folder):
    with pytest.raises(UserError, match="holds no classifier"):
        open_classification_service(str(model_folder))
