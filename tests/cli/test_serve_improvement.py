"""`turnwise serve` shows the cycles of its TURNWISE_HOME."""

import re
import subprocess
import sys

import httpx
import pytest

from improvement_samples import REPORT, write_cycle

PROGRAM = "from turnwise.cli.main import main; main()"


@pytest.mark.slow
def test_a_server_shows_the_cycles_of_its_models(model_folder, tmp_path):
    write_cycle(tmp_path / "home" / "improve", "shop")
    command = [sys.executable, "-c", PROGRAM, "serve", model_folder, "--port", "0", "--threads", "1",
               "--served-model-name", "shop"]  # fmt: skip
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        try:
            output = ""
            while not (match := re.search(r"http://127\.0\.0\.1:\d+", output)):
                line = process.stdout.readline()
                assert line, output
                output += line
            (model,) = httpx.get(f"{match[0]}/v1/improvements", timeout=60).json()["data"]
            assert (model["model"], model["new_answers"], len(model["cycles"])) == ("shop", 0, 1)
            assert httpx.get(f"{match[0]}/v1/improvements/shop/1/report", timeout=60).text == REPORT
            assert 'href="/improve"' in httpx.get(match[0], timeout=60).text
        finally:
            process.terminate()
