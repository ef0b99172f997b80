"""`llm`, as command line and library, with models from its file of OpenAI-compatible servers."""

import json

import pytest
from clients_shared import HELLO, LONG, MODEL, QUESTION, TEXTS, WEATHER

llm = pytest.importorskip("llm", reason="make clients")
openai = pytest.importorskip("openai")
from click.testing import CliRunner  # noqa: E402
from llm.cli import cli  # noqa: E402
from llm.default_plugins.openai_models import OpenAIEmbeddingModel, Responses  # noqa: E402

CLIENT = "llm"
pytestmark = pytest.mark.clients
BOTH = pytest.mark.parametrize("client", ["llm", "llm, responses"])
LIMIT = {"temperature": 0, "max_tokens": 60}


@pytest.fixture
def names(url, tmp_path, monkeypatch):
    """Create a user folder with the model of the server. Returns the names of the model by client."""
    names = {"llm": "turnwise", "llm, responses": "turnwise-responses"}
    models = [
        {
            "model_id": name, "model_name": MODEL, "api_base": url, "supports_schema": True, "supports_tools": True,
            "responses": client.endswith("responses"),
        }
        for client, name in names.items()
    ]  # fmt: skip
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models), encoding="utf-8")  # JSON is YAML
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    return names


@pytest.fixture
def model(names, client):
    return llm.get_model(names[client])


@BOTH
@pytest.mark.capability("chat")
def test_chat_on_the_command_line(names, client):
    run = CliRunner().invoke(cli, ["-m", names[client], HELLO, "--no-stream", "-o", "max_tokens", "60"])
    assert run.exit_code == 0, run.output
    assert run.output.strip()
    more = CliRunner().invoke(cli, ["-c", "And then?"])  # continues the logged conversation, as a stream
    assert more.exit_code == 0, more.output
    assert more.output.strip()


@BOTH
@pytest.mark.capability("stream")
def test_stream(model):
    pieces = list(model.prompt(HELLO, **LIMIT))
    assert "".join(pieces) == model.prompt(HELLO, stream=False, **LIMIT).text()
    assert len(pieces) > 3


@pytest.fixture
def forced(model, monkeypatch):
    """`llm` cannot require a call; this adds the tool choice to its requests until there are outputs."""
    name = "_build_responses_kwargs" if isinstance(model, Responses) else "build_kwargs"
    build = getattr(model, name)

    def forced(prompt, stream):
        return build(prompt, stream) | {"tool_choice": "none" if prompt.tool_results else "required"}

    monkeypatch.setattr(model, name, forced)
    return model


def run_loop(model, *, stream):
    called = []

    def implementation(city):
        called.append(city)
        return f"sunny in {city}"

    tool = llm.Tool("get_weather", "The weather of a city.", WEATHER, implementation)
    chain = model.conversation().chain(QUESTION, tools=[tool], stream=stream, options=LIMIT)
    first, second = chain.responses()
    assert len(called) == len(first.tool_calls()) > 0
    assert not second.tool_calls()
    assert second.text() is not None


@BOTH
@pytest.mark.capability("tool loop")
def test_tool_loop(forced):
    run_loop(forced, stream=False)


@BOTH
@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(forced):
    run_loop(forced, stream=True)


@BOTH
@pytest.mark.capability("structured output")
@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(model, stream):
    assert json.loads(model.prompt("Rome", schema=WEATHER, stream=stream, **LIMIT).text()).keys() == {"city"}


@pytest.mark.capability("embeddings")
def test_embeddings():
    """The file supports only chat models; the URL comes from the environment variable of the official client."""
    assert len(list(OpenAIEmbeddingModel("turnwise", MODEL).embed_multi(TEXTS))) == len(TEXTS)


@BOTH
@pytest.mark.capability("context overflow")
def test_context_overflow(model):
    with pytest.raises(openai.BadRequestError) as error:
        model.prompt(LONG).text()
    assert error.value.code == "context_length_exceeded"
