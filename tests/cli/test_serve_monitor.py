"""`turnwise serve --monitor`: checks before a model is loaded, and a server as a process beside the monitor."""

import re
import subprocess
import sys

import httpx
import pytest

from monitor_stand_ins import open_test_pipeline, text
from turnwise.store import open_monitor_store, open_store

PROGRAM = "from turnwise.cli.main import main; main()"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [("missing.db", 1, "There is no store"), ("text.db", 2, "cannot be used as a monitor store")],
)
def test_a_store_that_cannot_be_shown_is_rejected_in_one_line(turnwise, model_folder, tmp_path, name, code, message):
    (tmp_path / "text.db").write_text("no database " * 1000)
    arguments = ["serve", model_folder, "--port", 0, "--store", "none", "--monitor", tmp_path / name]
    exit_code, _, err = turnwise(*arguments)
    assert exit_code == code
    assert err.startswith("Error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("is_shared", [False, True], ids=["own file", "file of the conversations"])
def test_a_server_shows_the_monitor_that_writes_meanwhile(model_folder, tmp_path, is_shared):
    path = tmp_path / "monitor.db"
    store = open_monitor_store(f"sqlite:///{path}")
    store.claim()
    pipeline = open_test_pipeline(store)
    command = [sys.executable, "-c", PROGRAM, "serve", model_folder, "--port", "0", "--threads", "1", "--monitor", path,
               "--store", f"sqlite:///{path}" if is_shared else "none"]  # fmt: skip
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        try:
            output = ""
            while not (match := re.search(r"http://127\.0\.0\.1:\d+", output)):
                line = process.stdout.readline()
                assert line, output
                output += line
            assert f"The text monitor of {path} is shown at /monitor." in output
            for number in range(3):
                pipeline.process([text(number)])
                body = httpx.get(f"{match[0]}/v1/monitor/trends", timeout=60).json()
                assert sum(body["data"][0]["texts"]) == number + 1
        finally:
            process.terminate()
            store.close()
    open_store(f"sqlite:///{path}").close()
