"""No view of the pages violates a rule of axe-core, in both themes and languages, on a desktop and at 320 pixels."""

import pytest
from accessibility import violations

VIEWS = ("/", "/playground", "/review", "/improve", "/data", "/runs", "/docs")
SIZES = ({"width": 1280, "height": 800}, {"width": 320, "height": 640})
pytestmark = pytest.mark.costly


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_view_has_no_violation(visit, script_answers, theme, locale):
    script_answers(["Some **text**, `code` and a [link](https://example.org).\n\n| a | b |\n| - | - |\n| 1 | 2 |"])
    found = {}
    for size in SIZES:
        page = visit("/", color_scheme=theme, locale=locale, viewport=size)
        page.fill("#prompt", "Hello")
        page.press("#prompt", "Enter")
        page.wait_for_selector(".message.assistant:not(.growing) table")
        for view in VIEWS:
            if view != "/":
                page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/", 3)[2] + view)
                page.wait_for_load_state("networkidle")
            found |= {(view, size["width"], rule): nodes for rule, nodes in violations(page)}
    assert found == {}
