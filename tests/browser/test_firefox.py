"""The main flows of the pages in Firefox (`make engines` installs what is needed)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FLOWS = Path(__file__).with_name("firefox")
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
ANSWER = ["**Tea** is ready:\n\n", "| kind | minutes |\n| --- | --- |\n", "| green | 2 |\n\n", "$x^2$\n"]


@pytest.mark.slow
@pytest.mark.skipif(
    FIREFOX is None, reason="Firefox was not found; install it (apt-get install firefox-esr) to run this."
)
@pytest.mark.skipif(
    not (FLOWS / "node_modules").is_dir(),
    reason="puppeteer-core is not installed; 'make engines' installs and runs this.",
)
def test_the_main_flows_work_in_firefox(server_url, script_answers):
    script_answers(ANSWER)
    result = subprocess.run(
        ["node", "--test", "--test-reporter=spec", "flows.test.mjs"],
        cwd=FLOWS,
        env=os.environ | {"FIREFOX": FIREFOX, "TURNWISE_URL": server_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
