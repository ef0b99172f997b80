"""`turnwise serve` shows the data sets of its TURNWISE_HOME."""

import json
import re
import subprocess
import sys

import httpx
import pytest

PROGRAM = "from turnwise.cli.main import main; main()"


@pytest.mark.slow
def test_a_server_shows_its_data_sets_and_stops_during_a_check(model_folder, tmp_path):
    folder = tmp_path / "home" / "datasets"
    folder.mkdir(parents=True)
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    (folder / "mine.jsonl").write_text(f"{json.dumps(row)}\n" * 50_000, encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, "serve", model_folder, "--port", "0", "--threads", "1"]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        try:
            output = ""
            while not (match := re.search(r"http://127\.0\.0\.1:\d+", output)):
                line = process.stdout.readline()
                assert line, output
                output += line
            listed = httpx.get(f"{match[0]}/v1/datasets", timeout=60).json()["data"]
            assert [(entry["id"], entry["bundled"]) for entry in listed] == [
                ("mine.jsonl", False), ("example_dialogues.jsonl", True),
            ]  # fmt: skip
            assert 'href="/data"' in httpx.get(match[0], timeout=60).text
            assert httpx.get(f"{match[0]}/v1/datasets/mine.jsonl/check", timeout=60).json()["status"] == "in_progress"
        finally:
            process.terminate()
        assert process.wait(30) == 0
    assert list((folder / ".index" / "mine.jsonl").iterdir()) == []
