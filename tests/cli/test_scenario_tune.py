"""`turnwise scenario tune` and `turnwise serve --scenarios`: thresholds on disk, and errors in one line."""

import json
import re
import subprocess
import sys

import httpx
import pytest

from service_scenarios import write_scenario
from turnwise.chat.service_path.tuned_thresholds import read_tuned
from turnwise.scenarios.loader import load_scenario

PROGRAM = "from turnwise.cli.main import main; main()"


@pytest.fixture
def shop(tmp_path):
    return write_scenario(tmp_path / "scenarios" / "shop")


@pytest.fixture
def labelled(tmp_path):
    """`labelled(*pairs)`: a file of labelled messages."""

    def write(*pairs):
        path = tmp_path / "labelled.jsonl"
        path.write_text("".join(json.dumps({"text": text, "intent": intent}) + "\n" for text, intent in pairs))
        return path

    return write


def test_the_examples_are_held_out_in_turn_without_labelled_messages(turnwise, shop):
    code, out, _ = turnwise("scenario", "tune", shop, "--max-wrong", 0.1)
    assert code == 0
    assert "examples, held out in turn" in out
    assert re.search(r"expected calibration error +0\.\d{3}", out)
    assert float(re.search(r"answered wrongly +([\d.]+)%", out)[1]) <= 10.0
    thresholds = read_tuned(load_scenario(shop), "lexical:1")
    assert f"{thresholds.intent:.3f}" == re.search(r"threshold +([\d.]+)", out)[1]


def test_labelled_messages_decide_if_there_are_any(turnwise, shop, labelled):
    path = labelled(("where is my parcel", "order_status"), ("when are you open", "opening_hours"), ("xqzv", None))
    code, out, _ = turnwise("scenario", "tune", shop, "--messages", path, "--max-wrong", 0)
    assert code == 0
    assert "3 labelled messages" in out
    assert re.search(r"accuracy of messages with an intent +100.0%", out)
    assert re.search(r"answered +66.7%", out)
    assert re.search(r"answered wrongly +0.0%", out)
    assert json.loads((shop / "tuned.json").read_text())["num_messages"] == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "hi", "intent": "order_staus"}', "has no intent 'order_staus'"),
        ('{"text": 3}', 'line 1: write {"text"'),
        ("not json", "line 1 is not readable JSON"),
        ("", "has no messages"),
    ],
)
def test_a_malformed_file_of_messages_is_an_error_in_one_line(turnwise, shop, tmp_path, line, message):
    path = tmp_path / "labelled.jsonl"
    path.write_text(line + "\n")
    code, _, err = turnwise("scenario", "tune", shop, "--messages", path)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (shop / "tuned.json").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scenarios", "missing"], "There is no folder missing"),
        (["--scenario", "customer_servcie"], "did you mean 'customer_service'"),
    ],
)
def test_a_scenario_that_cannot_be_served_is_rejected_before_a_model_is_loaded(turnwise, model_folder, flags, message):
    code, _, err = turnwise("serve", model_folder, "--port", 0, "--store", "none", *flags)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_server_answers_by_the_scenarios_of_a_folder(shop, model_folder, tmp_path):
    command = [sys.executable, "-c", PROGRAM, "serve", model_folder, "--port", "0", "--threads", "1", "--scenarios",
               shop.parent, "--scenario", "shop", "--store", f"sqlite:///{tmp_path / 'chats.db'}"]  # fmt: skip
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        try:
            output = ""
            while not (match := re.search(r"http://127\.0\.0\.1:\d+", output)):
                line = process.stdout.readline()
                assert line, output
                output += line
            assert "The scenario 'shop' answers requests that name none." in output
            with httpx.Client(base_url=match[0], timeout=120) as client:
                names = [entry["id"] for entry in client.get("/v1/scenarios").json()["data"]]
                assert {"shop", "customer_service"} <= set(names)
                body = {"model": "latest", "messages": [{"role": "user", "content": "can I have a discount"}]}
                answer = client.post("/v1/chat/completions", json=body).json()
                assert answer["service"]["decision"] == "refusal:discounts"
                assert 'href="/handoffs"' in client.get("/").text
        finally:
            process.terminate()
            process.wait(60)
