"""The command: quick help, flags from the declared parameters, errors in a sentence."""

import io
import os
import subprocess
import sys
import threading

import pytest
import typer

from turnwise import __version__
from turnwise.app.chat_services import open_chat_service
from turnwise.app.generation_defaults import load_generation_defaults
from turnwise.app.system_fingerprint import system_fingerprint
from turnwise.cli.main import app
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import UserError
from turnwise.core.messages import Message
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.engine.native.library import libraries

pytestmark = pytest.mark.timeout(60)
HEAVY = {
    "torch", "numpy", "tokenizers", "transformers", "fastapi", "uvicorn", "sqlite3", "jinja2", "matplotlib",
    "prompt_toolkit", "turnwise.engine", "turnwise.server", "turnwise.models", "turnwise.store", "turnwise.text",
    "turnwise.training", "turnwise.app.chat_services",
}  # fmt: skip
IMPORTED = """
import sys
from turnwise.cli.main import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["chat", "--help"], ["serve", "-h"], ["keys", "create", "--help"], ["--version"]],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments):
    done = subprocess.run([sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "turnwise" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_every_command_is_listed_with_a_sentence(turnwise):
    code, out, _ = turnwise("--help")
    assert code == 0
    for command in ("chat", "serve", "train", "evaluate", "data", "tokenizer", "keys"):
        assert f" {command} " in out


def test_the_version(turnwise):
    assert turnwise("--version") == (0, f"turnwise {__version__}\n", "")


@pytest.mark.parametrize("command", ["chat", "serve"])
def test_every_declared_parameter_has_a_flag_with_its_help(command, turnwise):
    options = {option for one in typer.main.get_command(app).commands[command].params for option in one.opts}
    assert {f"--{name.replace('_', '-')}" for name, spec in PARAMETER_SPECS.items() if spec.has_cli_flag} <= options
    shown = " ".join(turnwise(command, "--help")[1].replace("│", " ").split())
    for spec in PARAMETER_SPECS.values():
        assert (spec.description in shown) == spec.has_cli_flag


def test_every_command_that_reads_dialogues_takes_the_same_flags_for_them():
    def commands(group, *above):
        for name, one in group.commands.items():
            yield from commands(one, *above, name) if hasattr(one, "commands") else [(" ".join((*above, name)), one)]

    flags = {"--format", "--encoding", "--columns", "--role", "--assistant-name"}
    options = {
        name: flags & {option for each in one.params for option in each.opts}
        for name, one in commands(typer.main.get_command(app))
    }
    reading = {
        "train", "evaluate", "tokenizer train", "data check", "data split", "data convert", "data score", "data filter",
    }  # fmt: skip
    assert options == {name: flags if name in reading else set() for name in options}
    assert reading <= options.keys()


@pytest.mark.parametrize("command", ["chat", "serve"])
def test_examples_are_shown_line_by_line(command, turnwise):
    lines = [line.strip() for line in turnwise(command, "--help")[1].splitlines()]
    first = lines.index(f"turnwise {command}")
    assert lines[first + 1].startswith(f"turnwise {command} ")


def test_completion_knows_the_commands():
    asked = {"_TURNWISE_COMPLETE": "complete_bash", "COMP_WORDS": "turnwise se", "COMP_CWORD": "1"}
    program = "from turnwise.cli.main import main; import sys; sys.argv = ['turnwise']; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **asked}, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["serve"]


# Mistakes


@pytest.mark.parametrize("command", ["chat", "serve"])
@pytest.mark.parametrize("model", ["no-such-model", "~no-such-person/model"])
def test_an_unknown_model_is_one_sentence_and_exit_code_2(command, model, turnwise):
    code, out, err = turnwise(command, model, "--store", "none")
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: There is no model folder {model}.")
    assert err.count("\n") == 1


def test_a_folder_without_a_model_is_said_to_be_none(turnwise, tmp_path):
    code, _, err = turnwise("chat", tmp_path, "--prompt", "Hi")
    assert code == 2
    assert err.startswith(f"Error: {tmp_path} holds no model: config.json is missing.")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--temperature", "3"], "'temperature' must be between 0 and 2, got 3."),
        (["--top-p", "-1"], "'top_p' must be between 0 and 1"),
        (["--stop", ""], "'stop' must hold strings that are not empty."),
        (["--dtype", "float31"], "Unknown dtype 'float31': did you mean 'float32'?"),
        (["--device", "gpu"], "Unknown device 'gpu': "),
        (["--store", "postgres://x"], "No store answers to 'postgres://x'"),
    ],
)
def test_a_wrong_value_is_said_before_the_model_is_loaded(flags, complaint, turnwise, model_folder):
    code, _, err = turnwise("chat", model_folder, *flags)
    assert code == 2
    assert err.startswith(f"Error: {complaint}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("flags", [["--temperature", "hot"], ["--temprature", "1"], ["one", "two"]])
def test_a_command_line_that_makes_no_sense_exits_with_2(flags, turnwise):
    code, out, err = turnwise("chat", *flags)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.skipif(not libraries(), reason="no compiled library")
def test_weights_can_be_rounded_to_fewer_bits(turnwise, model_folder):
    code, out, err = turnwise("chat", model_folder, "--prompt", "Hi", "--quantize", "int8", "--max-tokens", "3")
    assert (code, err) == (0, "")
    assert out
    with open_chat_service(model_folder) as whole, open_chat_service(model_folder, quantize="int8") as rounded:
        assert whole.fingerprint != rounded.fingerprint


@pytest.mark.parametrize("command", ["chat", "serve"])
def test_without_the_compiled_library_weights_cannot_be_rounded(command, turnwise, model_folder, monkeypatch):
    monkeypatch.setattr("turnwise.engine.native.library.libraries", lambda: ())
    code, _, err = turnwise(command, model_folder, "--quantize", "int4", "--store", "none")
    assert code == 2
    assert "a C++ compiler" in err
    assert err.count("\n") == 1


def test_a_gpu_that_is_not_there(turnwise, model_folder, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = turnwise("chat", model_folder, "--prompt", "Hi", "--device", "cuda")
    assert code == 2
    assert "no GPU" in err


# chat --prompt


def expected(model_folder, messages, **asked):
    import asyncio

    with open_chat_service(str(model_folder), max_num_seqs=1) as service:
        return asyncio.run(service.reply(ChatRequest(messages, asked, preset="chat"))).text


def test_say_prints_the_answer_and_nothing_else(turnwise, model_folder):
    answer = expected(
        model_folder, (Message("system", "Be kind."), Message("user", "Hello")), seed=5, max_tokens=20, stop=["zzz"]
    )
    code, out, err = turnwise(
        "chat", model_folder, "--prompt", "Hello", "--system", "Be kind.", "--seed", 5, "--max-tokens", 20,
        "--stop", "zzz",
    )  # fmt: skip
    assert (code, out, err) == (0, f"{answer}\n", "")
    assert answer


def test_say_reads_standard_input(turnwise, model_folder, monkeypatch):
    piped = io.TextIOWrapper(io.BytesIO(b"Hello \xff!\n"))  # not valid text, and not worth a traceback
    monkeypatch.setattr("sys.stdin", piped)
    answer = expected(model_folder, (Message("user", "Hello \ufffd!"),), seed=5, max_tokens=20)
    assert turnwise("chat", model_folder, "--prompt", "-", "--seed", 5, "--max-tokens", 20) == (0, f"{answer}\n", "")


def test_bytes_on_the_command_line_that_are_no_text(turnwise, model_folder):
    code, _, err = turnwise("chat", model_folder, "--prompt", "half \udc80")
    assert (code, err) == (2, "Error: A message of the user is not valid Unicode text.\n")


def test_talking_through_a_pipe(turnwise, model_folder, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n/save out.jsonl\n"))
    monkeypatch.chdir(tmp_path)
    code, out, err = turnwise("chat", model_folder, "--seed", 1, "--max-tokens", 5)
    assert (code, err) == (0, "")
    assert "Saved 2 messages to out.jsonl." in out
    assert (tmp_path / "home" / "conversations.db").is_file()


# What a model prefers


def test_the_models_own_sampling_parameters_are_taken_over(tmp_path):
    path = tmp_path / "generation_config.json"
    assert load_generation_defaults(tmp_path) == {}
    path.write_text('{"temperature": 0.6, "top_k": 20, "top_p": null, "eos_token_id": 1, "seed": 4, "do_sample": true}')
    assert load_generation_defaults(tmp_path) == {"temperature": 0.6, "top_k": 20}
    path.write_text('{"temperature": 0.6, "do_sample": false}')
    assert load_generation_defaults(tmp_path) == {"temperature": 0.0}


@pytest.mark.parametrize("written", ["{", "[1]", '"text"', '{"temperature": 7}', '{"top_k": "many"}'])
def test_a_damaged_or_absurd_generation_config_is_named(written, tmp_path):
    (tmp_path / "generation_config.json").write_text(written)
    with pytest.raises(UserError, match=r"generation_config\.json"):
        load_generation_defaults(tmp_path)


def test_the_fingerprint_changes_with_weights_and_type(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = system_fingerprint(tmp_path, "auto")
    assert system_fingerprint(tmp_path, "auto") == first
    assert system_fingerprint(tmp_path, "float16") != first
    (tmp_path / "model.safetensors").write_bytes(b"weighty")
    assert system_fingerprint(tmp_path, "auto") != first


def test_a_service_ends_its_engine(model_folder):
    def engines():
        return [thread for thread in threading.enumerate() if thread.name == "turnwise-engine"]

    before = len(engines())
    with open_chat_service(str(model_folder), max_num_seqs=1) as service:
        assert service.name == "tiny"
        assert len(engines()) == before + 1
    assert len(engines()) == before
