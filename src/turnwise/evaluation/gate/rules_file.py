"""Reads the rules of the gate: the defaults, and the file of the user that changes them.

A rule of the user's file changes the keys that it names of the default rule with the same name; `null` removes the
rule; a new name adds one. `models:` holds more such changes for single models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml
from turnwise.evaluation.gate.rule import GateRule
from turnwise.evaluation.gate.rules import GATE_RULES

DEFAULT_RULES = Path(__file__).with_name("rules.yaml")

RuleValues = dict[str, dict[str, Any] | None]


class RuleChanges(StrictModel):
    """Changes for one model.

    Attributes:
        alpha: as in `GateFile`; None: that of the file.
        rules: keys of rules by name; None removes a rule.
    """

    alpha: float | None = Field(default=None, gt=0, lt=1)
    rules: RuleValues = Field(default_factory=dict)


class GateFile(RuleChanges):
    """A file of rules.

    Attributes:
        models: changes by served model name.
    """

    models: dict[str, RuleChanges] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateRules:
    """The rules in force for a model.

    Attributes:
        alpha: probability of a false promotion, over all candidates until the next real one.
        rules: rules by name, in order.
    """

    alpha: float
    rules: Mapping[str, GateRule]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, in the format of the file."""
        kinds = {cls: kind for kind, cls in GATE_RULES.all().items()}
        rules = {
            name: {"rule": kinds[type(rule)], **rule.model_dump(exclude_none=True)} for name, rule in self.rules.items()
        }
        return {"alpha": self.alpha, "rules": rules}


def load_gate_rules(path: Path | None = None, model: str | None = None) -> GateRules:
    """Read the rules.

    Args:
        path: the user's file; None: only the defaults.
        model: served model name, whose entry in `models` applies; None: no entry applies.

    Raises:
        InvalidData: the file cannot be read or is not valid YAML.
        InvalidParameter: a key, kind or value is wrong, or no rule is left. The message names the file and the key.
    """
    default = _read(DEFAULT_RULES)
    layers: list[tuple[str, RuleChanges]] = [(str(DEFAULT_RULES), default)]
    if path is not None:
        file = _read(path)
        layers.append((str(path), file))
        if model is not None and model in file.models:
            layers.append((f"{path}, models.{model}", file.models[model]))
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    alpha = default.alpha
    for origin, changes in layers:
        alpha = alpha if changes.alpha is None else changes.alpha
        for name, keys in changes.rules.items():
            if keys is None:
                if name not in merged:
                    raise InvalidParameter(f"rules.{name}", f"{origin}: there is no rule '{name}' to remove.")
                del merged[name]
            else:
                # Another kind of rule has keys of its own, so it starts afresh.
                is_same_kind = keys.get("rule", merged.get(name, {}).get("rule")) == merged.get(name, {}).get("rule")
                merged[name] = {**(merged.get(name, {}) if is_same_kind else {}), **keys}
                origins[name] = origin
    if not merged:
        raise InvalidParameter("rules", f"{path}: no rule is left, so every candidate would pass.")
    assert alpha is not None, "the default file sets alpha"
    return GateRules(alpha, {name: _build_rule(name, keys, origins[name]) for name, keys in merged.items()})


def _read(path: Path) -> GateFile:
    values = read_yaml(path, "file of rules")
    if not isinstance(values, dict):
        raise InvalidData(f"{path} should hold the keys 'alpha', 'rules' and 'models'.")
    return parse_strict_model(GateFile, values, origin=str(path))


def _build_rule(name: str, keys: Mapping[str, Any], origin: str) -> GateRule:
    kind = keys.get("rule")
    if not isinstance(kind, str):
        kinds = ", ".join(GATE_RULES.names())
        raise InvalidParameter(f"rules.{name}", f"{origin}: 'rules.{name}' needs the key 'rule', one of: {kinds}.")
    settings = {key: value for key, value in keys.items() if key != "rule"}
    return parse_strict_model(GATE_RULES.load(kind), settings, origin=origin, at=f"rules.{name}")
