"""Interaction formats on the command line and in the API, with a base model like GPT-2: no chat template."""

import json
import urllib.request

import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.app.prompts.library import PromptLibrary
from turnwise.app.prompts.prompt_file import PromptVersion
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.tokenizer_config import GENERIC_CLASS

PROMPT = "Human: Hello, how are you?\nAssistant:"
GREEDY = ("--temperature", 0, "--max-tokens", 8)


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory, one_thread):
    """A random GPT-2 with byte-level BPE, one special token and no chat template."""
    import torch
    import transformers

    from turnwise.text.tokenization.bpe_training import train_bpe

    folder = tmp_path_factory.mktemp("models") / "gpt2"
    backend = train_bpe(["Human: Hello, how are you?\nAssistant: I am fine.\n"] * 4, vocab_size=300).backend
    state = json.loads(backend.to_str())
    state["added_tokens"] = [{**token, "content": "<|endoftext|>"} for token in state["added_tokens"][:1]]
    state["model"]["vocab"] = {
        "<|endoftext|>" if id == 0 else token: id for token, id in state["model"]["vocab"].items()
    }
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(state))
    special = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": GENERIC_CLASS, **special}))
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=Tokenizer.load(folder).vocab_size, n_positions=256, n_embd=32, n_layer=1, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def post(url, path, **body):
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def test_the_prompt_of_a_base_model_gets_the_next_turn_on_the_command_line_and_from_the_api(gpt2_folder, turnwise):
    code, out, err = turnwise("chat", gpt2_folder, "--format", "human_assistant", "--prompt", PROMPT, *GREEDY)
    assert (code, "chat template" in err) == (0, False)
    with open_chat_service(str(gpt2_folder), format="human_assistant") as service:
        app = create_app({"gpt2": service}, default="gpt2")
        with serve_in_thread(app) as url:
            sampling = {"model": "gpt2", "temperature": 0, "max_tokens": 8}
            text = post(url, "/v1/completions", prompt=PROMPT, **sampling)
            chat = post(
                url, "/v1/chat/completions", messages=[{"role": "user", "content": "Hello, how are you?"}], **sampling
            )
    reply = chat["choices"][0]["message"]["content"]
    assert text["choices"][0]["text"].strip() == reply == out.strip()
    assert text["usage"]["prompt_tokens"] == chat["usage"]["prompt_tokens"]


@pytest.mark.parametrize("command", ["chat", "serve", "evaluate"])
def test_an_unknown_format_is_an_error_before_the_model_is_loaded(gpt2_folder, turnwise, command):
    code, _, err = turnwise(command, gpt2_folder, "--interaction-format", "human_asistant")
    assert code == 2
    assert "did you mean 'human_assistant'" in err


@pytest.mark.costly
def test_a_model_that_is_trained_in_a_format_is_saved_and_served_in_it(gpt2_folder, turnwise, tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": f"Hello {i}"}, {"role": "assistant", "content": "I am fine."}]}
        for i in range(12)
    ]
    data = tmp_path / "talks.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    code, _, err = turnwise(
        "train", data, "--base-model", gpt2_folder, "--out", out, "--interaction-format", "human_assistant",
        "--max-steps", 1, "--evaluation", "none",
    )  # fmt: skip
    assert code == 0, err
    with open_chat_service(str(out)) as service:
        assert service.interaction_format.NAME == "human_assistant"
        assert service.renderer.stop_strings([]) == ("\nHuman:",)


def test_a_prompt_of_the_library_is_the_system_message(gpt2_folder, turnwise):
    PromptLibrary.default().add("kind", PromptVersion(text="Be {{ how }}.", variables={"how": "kind"}))
    with open_chat_service(str(gpt2_folder), format="human_assistant", system_prompt="Be nice.") as service:
        assert service.renderer.render_text([], add_generation_prompt=True) == "Be nice.\n\nAssistant:"
    arguments = ("--format", "human_assistant", "--prompt", "Hello", *GREEDY)
    outputs = [
        turnwise("chat", gpt2_folder, *arguments, *options)
        for options in (
            ["--prompt-template", "kind@1", "--prompt-variable", "how=nice"],
            ["--system", "Be nice."],
        )
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == 0


def test_prompts_are_compared_and_equal_ones_show_no_difference(gpt2_folder, turnwise, tmp_path):
    for text in ("Be kind.", "Be kind. ", "Be brief."):
        PromptLibrary.default().add("kind", PromptVersion(text=text))
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "- id: a\n  messages: [Hello]\n  must_include: [[zzz]]\n  passing_answer: zzz\n"
        "- id: b\n  messages: [Bye]\n  must_include: [[zzz]]\n  passing_answer: zzz\n"
    )
    code, out, err = turnwise(
        "prompt", "test", "kind@1", "kind@2", "kind@3", "--model", gpt2_folder, "--golden", cases,
        "--interaction-format", "human_assistant", "--max-tokens", 4,
    )  # fmt: skip
    assert code == 0, err
    assert "kind@2 and kind@1: no difference." in out
    assert "kind@3 and kind@1: no difference." in out


def test_a_comparison_needs_two_variants_and_something_to_compare_them_on(turnwise):
    PromptLibrary.default().add("kind", PromptVersion(text="Be kind."))
    assert "at least two" in turnwise("prompt", "test", "kind@1", "kind")[2]
    PromptLibrary.default().add("kind", PromptVersion(text="Be brief."))
    assert "--data FILE or --golden" in turnwise("prompt", "test", "kind@1", "kind@2")[2]
