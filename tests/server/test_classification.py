"""`/v1/classify` and `/v1/tag`: classifiers beside a chat model, on a real server."""

import json
import socket
import time
from contextlib import ExitStack

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotated_data import write_classifier
from turnwise.app.classifiers import open_classification_service, open_classifier
from turnwise.chat.classification_service import StepwiseClassificationService
from turnwise.core.classification import LabelScore, TextLabels
from turnwise.core.classification_service import ClassificationResult
from turnwise.core.errors import UserError
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.server.app import create_app
from turnwise.server.schema import classification_bodies
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

CONFIGS = {
    "moods": ClassifierConfig("sequence_classification", ("good", "bad", "<b>odd</b>"), threshold=0.2),
    "topics": ClassifierConfig("sequence_classification", ("a", "b", "c", "d"), is_multi_label=True),
    "names": ClassifierConfig("token_classification", ("O", "B-PER", "I-PER", "B-LOC"), context_words=5),
}
TEXTS = ["Ada likes Rome.", "Dan left Oslo, and Ben saw Lima!", "谢谢你 Ada", "e\u0301 👩‍👩‍👧 ﷺ\u202e"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer, one_thread):
    root = tmp_path_factory.mktemp("classifiers")
    return {name: write_classifier(root / name, tokenizer, config) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def url(folders):
    classifiers = {name: open_classification_service(str(folder), threads=1) for name, folder in folders.items()}
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", classifiers=classifiers)
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture(scope="module")
def post(url):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield lambda route, **fields: client.post(f"/v1/{route}", json=fields)


def labels_of(post, texts, model="moods", **fields):
    """The entries of the response for some texts."""
    answer = post("classify", model=model, input=texts, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def spans_of(post, texts, **fields):
    """The spans of every text."""
    answer = post("tag", model="names", input=texts, **fields)
    assert answer.status_code == 200, answer.text
    return [entry["spans"] for entry in answer.json()["data"]]


@pytest.mark.parametrize("model", ["moods", "topics"])
def test_a_response_has_the_labels_that_the_classifier_predicts(post, folders, model):
    expected = open_classifier(str(folders[model])).classify(TEXTS)
    answer = post("classify", model=model, input=TEXTS).json()
    assert (answer["object"], answer["model"]) == ("list", model)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > len(TEXTS)
    assert [entry["index"] for entry in answer["data"]] == list(range(len(TEXTS)))
    for entry, result in zip(answer["data"], expected, strict=True):
        assert entry["labels"] == list(result.labels)
        assert [score["label"] for score in entry["scores"]] == [score.label for score in result.scores]
        assert [score["probability"] for score in entry["scores"]] == pytest.approx(
            [score.probability for score in result.scores], abs=1e-6
        )
    assert len({str(entry["scores"]) for entry in answer["data"]}) == len(TEXTS), "the order of texts matters here"


def test_a_text_has_the_same_labels_alone_and_among_others(post):
    together = labels_of(post, TEXTS * 50)
    for number in (0, 65, 199):
        (alone,) = labels_of(post, TEXTS[number % 4])
        assert alone["labels"] == together[number]["labels"]
        assert alone["scores"][0]["probability"] == pytest.approx(together[number]["scores"][0]["probability"])


def test_top_k_limits_the_scores_and_not_the_labels(post):
    (complete,) = labels_of(post, "Ada likes Rome.", model="topics", threshold=0)
    assert len(complete["labels"]) == len(complete["scores"]) == 4
    for top_k in (1, 2, 9):
        (entry,) = labels_of(post, "Ada likes Rome.", model="topics", threshold=0, top_k=top_k)
        assert entry["scores"] == complete["scores"][:top_k]
        assert entry["labels"] == complete["labels"]


@pytest.mark.parametrize("model", ["moods", "topics"])
def test_the_threshold_of_a_request_replaces_the_classifier_s(post, model):
    (complete,) = labels_of(post, "Ada likes Rome.", model=model)
    highest = complete["scores"][0]["probability"]
    (at,) = labels_of(post, "Ada likes Rome.", model=model, threshold=highest)
    (above,) = labels_of(post, "Ada likes Rome.", model=model, threshold=min(1.0, highest * 1.0001))
    assert at["labels"] == [complete["scores"][0]["label"]]
    assert above["labels"] == []
    assert above["scores"] == complete["scores"]


def test_a_long_text_is_truncated_and_the_response_says_so(post):
    short, long, longer = labels_of(post, ["Ada", "likes Rome " * 100, "likes Rome " * 101])
    assert [entry["is_truncated"] for entry in (short, long, longer)] == [False, True, True]
    assert long["scores"] == longer["scores"]


def test_the_spans_are_those_of_the_tagger(post, folders):
    expected = open_classifier(str(folders["names"])).tag(TEXTS)
    for spans, result in zip(spans_of(post, TEXTS), expected, strict=True):
        assert [(span["start"], span["end"], span["text"], span["label"]) for span in spans] == [
            (span.start, span.end, span.text, span.label) for span in result.spans
        ]
        assert [span["probability"] for span in spans] == pytest.approx([span.probability for span in result.spans])


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=3), threshold=st.floats(0, 1))
def test_the_offsets_of_spans_count_characters_of_the_text(post, texts, threshold):
    for text, spans in zip(texts, spans_of(post, texts), strict=True):
        end = 0
        for span in spans:
            assert end <= span["start"] < (end := span["end"]) <= len(text), "spans are in order and do not overlap"
            assert text[span["start"] : span["end"]] == span["text"]
    above = [[span for span in spans if span["probability"] >= threshold] for spans in spans_of(post, texts)]
    assert spans_of(post, texts, threshold=threshold) == above


def test_every_word_of_some_text_is_in_a_span(post):
    """The test above would pass for a tagger that finds nothing."""
    labels = {span["label"] for spans in spans_of(post, TEXTS) for span in spans}
    assert labels == {"PER", "LOC"}


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


def test_classification_needs_the_key_and_counts_as_one_of_its_requests(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    key = keys.create("me", max_concurrent=1)
    classifier = EndlessClassifier()
    with serve(classifier, keys=keys) as url:
        body, headers = {"model": "slow", "input": "Ada"}, {"Authorization": f"Bearer {key}"}
        assert httpx.post(f"{url}/v1/classify", json=body).status_code == 401
        with held_request(url, headers):
            assert eventually(lambda: classifier.num_steps > 0)
            answer = httpx.post(f"{url}/v1/classify", json=body, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")


class EndlessClassifier:
    """Computes for ever if the text is "forever", else one step (implements `StepwiseClassifier`)."""

    def __init__(self):
        self.num_steps = 0

    def classify_in_steps(self, request):
        while request.inputs[0] == "forever":
            self.num_steps += 1
            time.sleep(0.01)
            yield
        return ClassificationResult([TextLabels(("a",), (LabelScore("a", 1.0),))], 1)


def serve(classifier, **settings):
    service = StepwiseClassificationService("slow", 0, "sequence_classification", ("a",), False, 8, classifier)
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", classifiers={"slow": service}, **settings)
    return serve_in_thread(app)


def held_request(url, headers=()):
    """A connection on which a request that never ends was sent."""
    host, port = url.removeprefix("http://").split(":")
    content = json.dumps({"model": "slow", "input": "forever"})
    head = {"Host": host, "Content-Type": "application/json", "Content-Length": len(content), **dict(headers)}
    lines = ["POST /v1/classify HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    connection = socket.create_connection((host, int(port)))
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + content).encode())
    return connection


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


def test_a_disconnect_stops_the_computation_after_the_current_step():
    classifier = EndlessClassifier()
    with serve(classifier) as url:
        with held_request(url):
            assert eventually(lambda: classifier.num_steps > 2)
        metric = 'turnwise_completions_total{finish="cancelled",model="slow"} 1.0'
        assert eventually(lambda: metric in httpx.get(f"{url}/metrics").text)
        stopped_at = classifier.num_steps
        time.sleep(0.1)
        assert classifier.num_steps <= stopped_at + 1


def test_a_tenant_with_many_requests_does_not_keep_another_one_waiting(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    headers = [{"Authorization": f"Bearer {keys.create(name)}"} for name in ("many", "one")]
    classifier = EndlessClassifier()
    with serve(classifier, keys=keys) as url, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(held_request(url, headers[0]))
        assert eventually(lambda: classifier.num_steps > 5)
        before = classifier.num_steps
        answer = httpx.post(f"{url}/v1/classify", json={"model": "slow", "input": "Ada"}, headers=headers[1])
        assert answer.status_code == 200
        assert classifier.num_steps > before, "the others go on"


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
