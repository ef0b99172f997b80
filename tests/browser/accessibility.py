"""Accessibility rules of axe-core."""

from pathlib import Path

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def violations(page, selector=None):
    """Return the violated rules on a page, or below a selector, with the elements that violate them."""
    page.evaluate(AXE)
    results = page.evaluate("selector => axe.run(selector ?? document)", selector)
    return [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in results["violations"]]
