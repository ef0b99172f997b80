"""JavaScript clients: the official one and the Vercel AI SDK."""

import json
import shutil
import subprocess

import pytest
from clients_shared import CAPABILITIES
from js_clients import FOLDER, SCRIPTS

pytestmark = pytest.mark.clients
CASES = [
    pytest.param(client, capability, marks=pytest.mark.capability(capability))
    for client, (_, _, embeds) in SCRIPTS.items()
    for capability in CAPABILITIES
    if embeds or capability != "embeddings"
]


@pytest.fixture(scope="module")
def reports(url):
    """Return the results of the scripts: by client, by capability."""
    if shutil.which("node") is None or not (FOLDER / "node_modules").is_dir():
        pytest.skip("needs node and the packages in tests/clients/js (make clients)")
    results = {}

    def report_for(client):
        if client not in results:
            run = subprocess.run(
                ["node", *SCRIPTS[client][0]], cwd=FOLDER, capture_output=True, text=True, timeout=280, check=False
            )
            lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"capability"')]
            results[client] = {line["capability"]: line["result"] for line in lines} | {"stderr": run.stderr}
        return results[client]

    return report_for


@pytest.mark.parametrize(("client", "capability"), CASES)
def test_capability(client, capability, reports):
    report = reports(client)
    assert report.get(capability) == "passed", report["stderr"]
