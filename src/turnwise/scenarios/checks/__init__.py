"""Checks of scenarios, one per file: `check(scenario)` yields the findings.

Another package adds one by an entry point in the group `turnwise.scenario_checks`.
"""

from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType

from turnwise.core.plugins import PluginGroup
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding

SCENARIO_CHECKS: PluginGroup[ModuleType] = PluginGroup(
    "scenario check", "scenario_checks", (__name__, __path__), requires=("check",)
)


def run_checks(scenario: ScenarioDefinition, names: Iterable[str] | None = None) -> list[Finding]:
    """Findings of the checks `names` (default: all): errors first, then by file and key. Raises `UnknownPlugin`."""
    findings = [
        replace(finding, check=name)
        for name in (SCENARIO_CHECKS.names() if names is None else names)
        for finding in SCENARIO_CHECKS.load(name).check(scenario)
    ]
    return sorted(findings, key=lambda finding: (finding.severity != "error", finding.file, finding.key))
