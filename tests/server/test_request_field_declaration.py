"""A request field is declared once; everything else follows from the declaration."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, get_type_hints

import httpx
import pytest

import turnwise
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta, ChatResponse
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server import openapi
from turnwise.server.app import create_app
from turnwise.server.field_reference import BODIES, render_route
from turnwise.server.routes import chat_completions
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.request_body import validate
from turnwise.server.schema.request_field import EXTENSION, Parameter, Target, find_metadata
from turnwise.server.schema.response_extensions import ResponseExtensions
from turnwise.testing import ScriptedChatService, serve_in_thread

PACKAGE = Path(turnwise.__file__).parent
HELLO = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
TEMPO = ParameterSpec("tempo", int, 0, "Beats per minute.", minimum=0, maximum=300)


class RequestWithTempo(ChatCompletionRequest):
    """A chat completion request with one more field, declared as the fields of the server are."""

    tempo: Annotated[int | None, Parameter(TEMPO), EXTENSION, Target("scheduling.priority")] = None


def test_a_declared_field_is_in_the_json_schema():
    schema = RequestWithTempo.model_json_schema()["properties"]["tempo"]
    assert (schema["type"], schema["minimum"], schema["maximum"]) == ("integer", 0, 300)
    assert schema["description"] == "Beats per minute."


def test_a_declared_field_is_in_the_reference():
    published, extensions = render_route("/v1/chat/completions", RequestWithTempo).split("### Extensions")
    assert "| `tempo` | Beats per minute. | between 0 and 300 |" in extensions
    assert "tempo" not in published


@pytest.mark.parametrize(("value", "requirement"), [(301, "between 0 and 300"), ("fast", "a whole number")])
def test_an_invalid_value_of_a_declared_field_is_rejected(value, requirement):
    with pytest.raises(InvalidParameter, match=f"'tempo' must be {requirement}") as error:
        validate({**HELLO, "tempo": value}, RequestWithTempo)
    assert error.value.param == "tempo"


@pytest.mark.parametrize(("fields", "priority"), [({"tempo": 120}, 120), ({"tempo": None}, 0), ({}, 0)])
def test_a_declared_field_reaches_the_chat_request(fields, priority):
    request = validate({**HELLO, **fields}, RequestWithTempo).to_chat_request()
    assert request.scheduling.priority == priority


def test_a_declared_field_works_over_http(monkeypatch):
    monkeypatch.setattr(chat_completions, "ChatCompletionRequest", RequestWithTempo)
    monkeypatch.setattr(openapi, "_body_models", {})
    service = ScriptedChatService(["Hi."])
    with serve_in_thread(create_app({"scripted": service}, default="scripted")) as url:
        schemas = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]
        assert "tempo" in schemas["RequestWithTempo"]["properties"]
        assert httpx.post(f"{url}/v1/chat/completions", json={**HELLO, "tempo": 90}).status_code == 200
        assert service.requests[0].scheduling.priority == 90
        error = httpx.post(f"{url}/v1/chat/completions", json={**HELLO, "tempo": -1}).json()["error"]
        assert (error["param"], error["code"]) == ("tempo", "invalid_parameter")
        error = httpx.post(f"{url}/v1/chat/completions", json={**HELLO, "temppo": 1}).json()["error"]
        assert "did you mean 'tempo'" in error["message"]


def attribute_paths(request: object, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all attributes of a chat request."""
    for field in fields(request):
        value = getattr(request, field.name)
        yield prefix + field.name
        if is_dataclass(value):
            yield from attribute_paths(value, f"{prefix}{field.name}.")


@pytest.mark.parametrize("route", BODIES)
def test_every_target_is_an_attribute_of_the_chat_request(route):
    paths = {*attribute_paths(ChatRequest()), *(f"sampling.{name}" for name in PARAMETER_SPECS)}
    for name, field in BODIES[route].model_fields.items():
        target, parameter = find_metadata(field, Target), find_metadata(field, Parameter)
        assert target is None or target.path in paths, name
        assert parameter is None or parameter.spec.name == name


def test_every_response_extension_is_an_attribute_of_a_delta_and_of_a_response():
    for name in ResponseExtensions.model_fields:
        assert name in get_type_hints(ChatDelta)
        assert name in get_type_hints(ChatResponse)


def files_with(*words: str) -> set[str]:
    """Return the files of `core` and `server` that contain one of the words."""
    pattern = re.compile(rf"\b({'|'.join(words)})\b")
    paths = [path for package in ("core", "server") for path in (PACKAGE / package).rglob("*.py")]
    return {path.relative_to(PACKAGE).as_posix() for path in paths if pattern.search(path.read_text("utf-8"))}


def test_a_field_is_declared_in_two_files():
    assert files_with("priority") == {"core/scheduling_options.py", "server/schema/common_fields.py"}


def test_a_field_with_a_report_is_declared_in_four_files():
    # The Responses API has the field twice: `truncation` is its published form.
    assert {name for name in files_with("context_policy") if name.startswith("server/schema/")} == {
        "server/schema/context_fields.py"
    }
    assert files_with("ContextReport", "ContextBody", "ContextOptions") == {
        "core/chat_request.py",
        "core/chat_response.py",
        "server/schema/context_fields.py",
        "server/schema/response_extensions.py",
    }
