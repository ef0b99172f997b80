"""`turnwise serve --knowledge`: names, checks before a model is loaded, and a server as a process."""

import re
import signal
import subprocess
import sys
import time

import httpx
import pytest

from turnwise.app.knowledge.open_base import open_knowledge_base
from turnwise.app.knowledge.served_base import parse_knowledge
from turnwise.core.errors import InvalidParameter

PROGRAM = "from turnwise.cli.main import main; main()"


def test_a_knowledge_base_has_a_name_of_its_own_or_of_the_option():
    bases = parse_knowledge(["shop", "faq=/data/faq", "notes=notes"])
    assert bases == {"shop": "shop", "faq": "/data/faq", "notes": "./notes"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["shop", "shop=/data"], "Two knowledge bases have the name 'shop'"),
        (["=/data"], "must be NAME, or NAME=FOLDER"),
        (["shop="], "must be NAME, or NAME=FOLDER"),
        (["/data/shop"], "must be NAME, or NAME=FOLDER"),
        (["x" * 65 + "=/data"], "at most 64 characters"),
    ],
)
def test_an_invalid_option_is_rejected(values, message):
    with pytest.raises(InvalidParameter, match=message):
        parse_knowledge(values)


def test_a_missing_knowledge_base_is_rejected_before_a_model_is_loaded(turnwise, model_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    code, _, err = turnwise("serve", model_folder, "--port", 0, "--store", "none", "--knowledge", "shop")
    assert code == 1
    assert "There is no knowledge base shop: `turnwise knowledge add FILE --base shop` creates it." in err


@pytest.mark.slow
def test_a_served_knowledge_base_takes_documents_and_ends_with_ctrl_c(tmp_path, model_folder, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    document = tmp_path / "returns.md"
    document.write_text("# Returns\n\nLamps can be returned within 30 days.\n", encoding="utf-8")
    with open_knowledge_base("shop", "none", create=True) as base:
        base.add_file(document, source="returns.md")
    command = [
        sys.executable, "-c", PROGRAM, "serve", str(model_folder), "--port", "0", "--store", "none",
        "--knowledge", "shop",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        lines = []
        for line in server.stdout:
            lines.append(line)
            if (address := re.search(r"http://127\.0\.0\.1:\d+", line)) is not None:
                break
        with httpx.Client(base_url=address[0], timeout=120) as client:
            assert "shop: 1 shared document, searched by words only.\n" in lines
            uploaded = client.post(
                "/v1/knowledge/shop/documents", params={"filename": "a.txt"}, content=b"Chairs are delivered by lorry."
            ).json()
            while client.get(f"/v1/knowledge/shop/documents/{uploaded['id']}").json()["status"] != "completed":
                time.sleep(0.05)
            passages = client.post("/v1/knowledge/shop/search", json={"query": "chairs"}).json()["data"]
            assert [passage["filename"] for passage in passages] == ["a.txt"]
            body = {
                "model": "latest", "messages": [{"role": "user", "content": "When can lamps be returned?"}],
                "knowledge": "shop", "max_tokens": 5,
            }  # fmt: skip
            service = client.post("/v1/chat/completions", json=body).json()["service"]
            assert [citation["source"] for citation in service["citations"]] == ["returns.md"]
        server.send_signal(signal.SIGINT)
        output = server.stdout.read()
        assert server.wait() == 0, output
        assert "Traceback" not in output
    with open_knowledge_base("shop") as base:
        assert base.problems() == []
        assert base.is_searchable()
