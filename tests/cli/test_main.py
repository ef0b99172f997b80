"""The command: fast help, flags of the declared parameters, errors in one line."""

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
PRINT_MODULES = """
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
    process = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *arguments], capture_output=True, text=True, timeout=30
    )
    assert process.returncode == 0
    assert "turnwise" in process.stdout
    assert not HEAVY & set(process.stderr.split())


def test_help_lists_every_command(turnwise):
    code, out, _ = turnwise("--help")
    assert code == 0
    for command in ("chat", "serve", "train", "evaluate", "data", "tokenizer", "keys"):
        assert f" {command} " in out


def test_version_prints_the_version(turnwise):
    assert turnwise("--version") == (0, f"turnwise {__version__}\n", "")


@pytest.mark.parametrize("command", ["chat", "serve"])
def test_every_declared_parameter_has_a_flag_with_its_description(command, turnwise):
    options = {option for param in typer.main.get_command(app).commands[command].params for option in param.opts}
    flags = {name: f"--{name.replace('_', '-')}" for name, spec in PARAMETER_SPECS.items() if spec.has_cli_flag}
    assert set(flags.values()) <= options
    help_text = " ".join(turnwise(command, "--help")[1].replace("│", " ").split())
    for spec in PARAMETER_SPECS.values():
        description = spec.description
        for name, flag in flags.items():
            description = description.replace(f"'{name}'", flag)  # the help names flags, not fields
        assert (description in help_text) == spec.has_cli_flag


def test_all_commands_that_read_dialogues_have_the_same_flags_for_reading():
    def commands(group, *parents):
        """Names and commands, also of the groups in a group."""
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, *parents, name)
            else:
                yield " ".join((*parents, name)), command

    flags = {"--format", "--encoding", "--columns", "--role", "--assistant-name"}
    options = {
        name: flags & {option for param in command.params for option in param.opts}
        for name, command in commands(typer.main.get_command(app))
    }
    reading_commands = {
        "train", "evaluate", "tokenizer train", "data check", "data split", "data convert", "data score", "data filter",
        "data privacy", "prompt test",
    }  # fmt: skip
    expected = {name: flags if name in reading_commands else set() for name in options}
    expected |= {"calibrate": {"--encoding", "--columns"}}  # reads annotated texts
    expected |= {"keys create": {"--role"}}  # of the key
    expected |= {"chat": {"--format"}, "serve": {"--format"}}  # of the interaction: they read no data files
    assert options == expected
    assert reading_commands <= options.keys()


@pytest.mark.parametrize("command", ["chat", "serve"])
def test_help_shows_one_example_per_line(command, turnwise):
    lines = [line.strip() for line in turnwise(command, "--help")[1].splitlines()]
    first = lines.index(f"turnwise {command}")
    assert lines[first + 1].startswith(f"turnwise {command} ")


def test_shell_completion_completes_commands():
    completion_request = {"_TURNWISE_COMPLETE": "complete_bash", "COMP_WORDS": "turnwise se", "COMP_CWORD": "1"}
    program = "from turnwise.cli.main import main; import sys; sys.argv = ['turnwise']; main()"
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **completion_request},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert process.stdout.split() == ["serve"]


# Mistakes


@pytest.mark.parametrize("command", ["chat", "serve"])
@pytest.mark.parametrize("model", ["no-such-model", "~no-such-person/model"])
def test_an_unknown_model_is_one_line_and_exit_code_2(command, model, turnwise):
    code, out, err = turnwise(command, model, "--store", "none")
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: There is no model folder {model}.")
    assert err.count("\n") == 1


def test_a_folder_without_a_model_is_rejected(turnwise, tmp_path):
    code, _, err = turnwise("chat", tmp_path, "--prompt", "Hi")
    assert code == 2
    assert err.startswith(f"Error: {tmp_path} holds no model: config.json is missing.")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--temperature", "3"], "'temperature' must be between 0 and 2, got 3."),
        (["--top-p", "-1"], "'top_p' must be between 0 and 1"),
        (["--stop", ""], "'stop' must contain non-empty strings."),
        (["--dtype", "float31"], "Unknown dtype 'float31': did you mean 'float32'?"),
        (["--device", "gpu"], "Unknown device 'gpu': "),
        (["--store", "postgres://x"], "'postgres://x' has an unknown scheme; known: sqlite"),
        (["--store", "foo"], "'foo' is not a store. Use sqlite:///PATH or none."),
    ],
)
def test_an_invalid_value_is_rejected_in_one_line(flags, message, turnwise, model_folder):
    code, _, err = turnwise("chat", model_folder, *flags)
    assert code == 2
    assert err.startswith(f"Error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("flags", [["--temperature", "hot"], ["--temprature", "1"], ["one", "two"]])
def test_an_invalid_command_line_exits_with_2(flags, turnwise):
    code, out, err = turnwise("chat", *flags)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.costly
@pytest.mark.skipif(not libraries(), reason="no compiled library")
def test_quantize_changes_the_fingerprint(turnwise, model_folder):
    code, out, err = turnwise("chat", model_folder, "--prompt", "Hi", "--quantize", "int8", "--max-tokens", "3")
    assert (code, err) == (0, "")
    assert out
    with open_chat_service(model_folder) as full, open_chat_service(model_folder, quantize="int8") as quantized:
        assert full.fingerprint != quantized.fingerprint


@pytest.mark.parametrize("command", ["chat", "serve"])
def test_quantize_without_the_compiled_library_is_rejected(command, turnwise, model_folder, monkeypatch):
    monkeypatch.setattr("turnwise.engine.native.library.libraries", lambda: ())
    code, _, err = turnwise(command, model_folder, "--quantize", "int4", "--store", "none")
    assert code == 2
    assert "a C++ compiler" in err
    assert err.count("\n") == 1


def test_a_missing_gpu_is_reported(turnwise, model_folder, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = turnwise("chat", model_folder, "--prompt", "Hi", "--device", "cuda")
    assert code == 2
    assert "PyTorch finds no usable GPU. Use --device cpu." in err


# chat --prompt


def expected_answer(model_folder, messages, **sampling):
    import asyncio

    with open_chat_service(str(model_folder), max_num_seqs=1) as service:
        return asyncio.run(service.reply(ChatRequest(messages, sampling, preset="chat"))).text


def test_prompt_prints_only_the_answer(turnwise, model_folder):
    answer = expected_answer(
        model_folder, (Message("system", "Be kind."), Message("user", "Hello")), seed=5, max_tokens=20, stop=["zzz"]
    )
    code, out, err = turnwise(
        "chat", model_folder, "--prompt", "Hello", "--system", "Be kind.", "--seed", 5, "--max-tokens", 20,
        "--stop", "zzz",
    )  # fmt: skip
    assert (code, out, err) == (0, f"{answer}\n", "")
    assert answer


def test_prompt_dash_reads_standard_input(turnwise, model_folder, monkeypatch):
    piped = io.TextIOWrapper(io.BytesIO(b"Hello \xff!\n"))  # invalid UTF-8
    monkeypatch.setattr("sys.stdin", piped)
    answer = expected_answer(model_folder, (Message("user", "Hello \ufffd!"),), seed=5, max_tokens=20)
    assert turnwise("chat", model_folder, "--prompt", "-", "--seed", 5, "--max-tokens", 20) == (0, f"{answer}\n", "")


def test_invalid_unicode_on_the_command_line_is_rejected(turnwise, model_folder):
    code, _, err = turnwise("chat", model_folder, "--prompt", "half \udc80")
    assert (code, err) == (2, "Error: A message of the user is not valid Unicode text.\n")


def test_chat_reads_lines_from_a_pipe(turnwise, model_folder, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n/save out.jsonl\n"))
    monkeypatch.chdir(tmp_path)
    code, out, err = turnwise("chat", model_folder, "--seed", 1, "--max-tokens", 5)
    assert (code, err) == (0, "")
    assert "Saved 2 messages to out.jsonl." in out
    assert (tmp_path / "home" / "conversations.db").is_file()


# Defaults of a model


def test_sampling_parameters_are_read_from_generation_config(tmp_path):
    path = tmp_path / "generation_config.json"
    assert load_generation_defaults(tmp_path) == {}
    path.write_text('{"temperature": 0.6, "top_k": 20, "top_p": null, "eos_token_id": 1, "seed": 4, "do_sample": true}')
    assert load_generation_defaults(tmp_path) == {"temperature": 0.6, "top_k": 20}
    path.write_text('{"temperature": 0.6, "do_sample": false}')
    assert load_generation_defaults(tmp_path) == {"temperature": 0.0}


@pytest.mark.parametrize("content", ["{", "[1]", '"text"', '{"temperature": 7}', '{"top_k": "many"}'])
def test_an_invalid_generation_config_is_rejected_with_its_name(content, tmp_path):
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(UserError, match=r"generation_config\.json"):
        load_generation_defaults(tmp_path)


def test_the_fingerprint_changes_with_weights_and_dtype(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    first = system_fingerprint(tmp_path, "auto")
    assert system_fingerprint(tmp_path, "auto") == first
    assert system_fingerprint(tmp_path, "float16") != first
    (tmp_path / "model.safetensors").write_bytes(b"weighty")
    assert system_fingerprint(tmp_path, "auto") != first


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "chat_template.jinja", "demonstrations.json", "generation_config.json"]
)
def test_the_fingerprint_changes_with_every_file_that_decides_the_prompt(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_text("{}")
    first = system_fingerprint(tmp_path, "auto")
    (tmp_path / name).write_text("[]")
    assert system_fingerprint(tmp_path, "auto") != first


def test_closing_a_service_ends_its_engine_thread(model_folder):
    def engine_threads():
        return [thread for thread in threading.enumerate() if thread.name == "turnwise-engine"]

    before = len(engine_threads())
    with open_chat_service(str(model_folder), max_num_seqs=1) as service:
        assert service.name == "tiny"
        assert len(engine_threads()) == before + 1
    assert len(engine_threads()) == before
