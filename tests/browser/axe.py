"""Accessibility checks with axe-core."""

from importlib.util import find_spec
from pathlib import Path

import pytest

RUN = """() => axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
  violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html.slice(0, 200))]))"""


def violations(page):
    """Return the rules that the page violates, with the elements; skips the test without axe-core."""
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("axe-core is not installed (pip install axe-playwright-python).")
    page.evaluate((Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    return page.evaluate(RUN)
