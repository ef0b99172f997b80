"""Placeholders that are said as they are: `{name}`, `[NAME]`, `<name>`, TODO, or a slot in a text without slots."""

import re
from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error
from turnwise.scenarios.scenario_texts import iterate_texts

_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]{0,60}\}\}|\{[A-Za-z_][\w ]{0,40}\}|\{%|<[A-Z_a-z][\w ]{0,40}>|\[[A-Z][A-Z_ ]{2,40}\]"
    r"|\$\{?[A-Za-z_]\w{0,40}"
    r"|%\([a-z_]{1,40}\)s|\b(?:TODO|FIXME|TBD|XXX+)\b|lorem ipsum|【(?:请?填写|待定)[^】]{0,20}】",
)
_TEMPLATE_SOURCES = ("template", "refusal", "instruction")


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report placeholders in all texts of the assistant."""
    for text in iterate_texts(scenario):
        match = _PLACEHOLDER.search(text.text)
        if match is None:
            continue
        hint = "write {{ name }} for a slot" if text.source in _TEMPLATE_SOURCES else "this text has no slots"
        yield error(text.file, text.key, f"the placeholder '{match.group()}' is said as it is: {hint}.")
