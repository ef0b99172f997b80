"""Strict validation of configuration files, with readable errors."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from turnwise.core.errors import InvalidParameter, did_you_mean


class StrictModel(BaseModel):
    """A section of a configuration file. Unknown keys, infinities and NaN are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=StrictModel)


def parse_strict_model(section: type[S], values: Any, *, origin: str, at: str = "") -> S:
    """Validate values from a YAML file or the command line.

    Args:
        section: the expected model.
        values: values to validate.
        origin: name of the input in error messages.
        at: path of the section in the file.

    Raises:
        InvalidParameter: an unknown key (with the closest valid one), a wrong type or a value out of range.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelled key is often reported as missing too. Report the spelling.
        problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InvalidParameter):
            raise InvalidParameter(cause.param or at, f"{origin}: {cause}") from error
        path = ".".join(str(key) for key in ([at] if at else []) + list(problem["loc"]))
        raise InvalidParameter(path or "recipe", f"{origin}: {_explain(section, path, problem)}") from error


def _explain(section: type[StrictModel], path: str, problem: ErrorDetails) -> str:
    keys = problem["loc"]
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{path}': {did_you_mean(str(keys[-1]), _valid_keys(section, keys[:-1]))}"
    if problem["type"] == "missing":
        return f"'{path}' is missing."
    if problem["type"] == "model_type":
        valid = ", ".join(sorted(_valid_keys(section, keys)))
        subject = f"'{path}'" if path else "it"
        return f"{subject} should hold keys ({valid}), not {problem['input']!r}."
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "string_type" and isinstance(problem["input"], bool | int | float):
        reason += "; quote it"  # YAML reads yes, no and 12 as something else
    got = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
    return f"'{path}' {reason}{got}." if path else f"{reason}."


def _valid_keys(section: type[BaseModel], path: Sequence[int | str]) -> set[str]:
    for key in path:
        if key not in section.model_fields:  # an index of a list, or a key of a mapping
            continue
        annotation: Any = section.model_fields[key].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), section)
    return {field.alias or name for name, field in section.model_fields.items()}
