"""Kinds of rules of the gate, one module each. The module name is the value of `rule` in a file of rules."""

from types import ModuleType

from turnwise.core.plugins import PluginGroup, find_subclass
from turnwise.evaluation.gate.rule import GateRule


def _build(_: str, module: ModuleType) -> type[GateRule]:
    return find_subclass(module, GateRule)  # type: ignore[type-abstract]


GATE_RULES: PluginGroup[type[GateRule]] = PluginGroup(
    "gate rule", "gate_rules", (__name__, __path__), build=_build, parameter="rule"
)
