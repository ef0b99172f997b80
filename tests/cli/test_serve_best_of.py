"""`turnwise serve --best-of`: its checks, and a server as a process."""

import re
import shutil
import subprocess
import sys

import httpx
import pytest

from discriminator_samples import make_copy

PROGRAM = "from turnwise.cli.main import main; main()"


def test_a_model_without_a_discriminator_is_refused_in_one_line(turnwise, model_folder):
    code, out, err = turnwise("serve", model_folder, "--port", 0, "--store", "none", "--best-of", "discriminator")
    assert code == 2
    assert re.fullmatch(r"Error: .*tiny has no discriminator.*--best-of discriminator out\.\n", err)
    assert "http://" not in out


@pytest.mark.slow
def test_a_server_ranks_choices_behind_scenarios_and_versions(model_folder, tiny_model, tokenizer, tmp_path):
    folder = tmp_path / "adversarial"
    shutil.copytree(model_folder, folder)
    make_copy(tiny_model, tokenizer).save(folder / "discriminator")
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "latest", "messages": messages, "seed": 3, "temperature": 1.0, "max_tokens": 12, "best_of": 8}
    answers = {}
    for ranking in ("likelihood", "discriminator"):
        command = [sys.executable, "-c", PROGRAM, "serve", folder, "--port", "0", "--threads", "1", "--store", "none",
                   "--best-of", ranking]  # fmt: skip
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
            try:
                output = ""
                while not (match := re.search(r"http://127\.0\.0\.1:\d+", output)):
                    line = process.stdout.readline()
                    assert line, output
                    output += line
                answer = httpx.post(f"{match[0]}/v1/chat/completions", json=body, timeout=60)
                answers[ranking] = answer.json()["choices"][0]["message"]["content"]
            finally:
                process.terminate()
        assert ("ranked by the discriminator" in output) == (ranking == "discriminator")
    assert answers["likelihood"] != answers["discriminator"]
