"""Parts of files that people write, checked strictly, and what is said of one that is wrong."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from turnwise.core.errors import InvalidParameter, did_you_mean


class StrictModel(BaseModel):
    """A part of such a file: unknown keys are errors, and so are numbers without an end."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=StrictModel)


def parse_strict_model(section: type[S], values: Any, *, origin: str, at: str = "") -> S:
    """Check what a YAML file or the command line said.

    Args:
        section: what it should be.
        values: what was said.
        origin: what to call it in errors.
        at: where in the file it stands.

    Raises:
        InvalidParameter: an unknown key (with the nearest known one), a wrong type or a value out of range.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelt key is often missing as well: the spelling is what to mend.
        problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        told = problem.get("ctx", {}).get("error")
        if isinstance(told, InvalidParameter):
            raise InvalidParameter(told.param or at, f"{origin}: {told}") from error
        where = ".".join(str(part) for part in ([at] if at else []) + list(problem["loc"]))
        raise InvalidParameter(where or "recipe", f"{origin}: {_explained(section, where, problem)}") from error


def _explained(section: type[StrictModel], where: str, problem: ErrorDetails) -> str:
    path = problem["loc"]
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{where}': {did_you_mean(str(path[-1]), _known_keys(section, path[:-1]))}"
    if problem["type"] == "missing":
        return f"'{where}' is missing."
    if problem["type"] == "model_type":
        keys = ", ".join(sorted(_known_keys(section, path)))
        named = f"'{where}'" if where else "it"
        return f"{named} should hold keys ({keys}), not {problem['input']!r}."
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    got = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
    return f"'{where}' {reason}{got}." if where else f"{reason}."


def _known_keys(section: type[BaseModel], path: Sequence[int | str]) -> set[str]:
    for part in path:
        if part not in section.model_fields:  # a place in a list, or a key of a mapping
            continue
        annotation: Any = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), section)
    return {field.alias or name for name, field in section.model_fields.items()}
