"""Accessibility rules of axe-core, from the package axe-playwright-python."""

from importlib.resources import files

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page, selector=None):
    """Return the violated rules on a page, or below a selector, with the elements that violate them."""
    page.evaluate(AXE)
    results = page.evaluate("selector => axe.run(selector ?? document)", selector)
    return [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in results["violations"]]
