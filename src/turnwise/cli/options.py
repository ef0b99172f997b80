"""Command-line flags that are derived from the declared generation parameters."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Optional

import typer

from turnwise.core.parameters import SPECS, ParameterSpec

ContextPolicy = Annotated[
    str,
    typer.Option(
        help="What becomes of a conversation that the context does not hold: refuse, drop_oldest, sliding_window or "
        "summarise."
    ),
]

Threads = Annotated[
    int | None,
    typer.Option(
        help="Most processor threads for the model. Default: one for each core; fewer compute while other processes "
        "need the cores.",
        min=1,
    ),
]


def sampling_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag per generation parameter; it receives what was said as the keyword `asked`.

    A parameter that the command has itself, such as `seed`, is the command's.
    """
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "asked"]
    taken = {parameter.name for parameter in own}
    flags = [_flag(spec) for spec in SPECS.values() if spec.flag and spec.name not in taken]

    @wraps(command)
    def wrapped(**values: Any) -> None:
        asked = {flag.name: value for flag in flags if (value := values.pop(flag.name)) not in (None, [], ())}
        command(**values, asked=asked)

    wrapped.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *flags]} | {"return": None}
    return wrapped


def _flag(spec: ParameterSpec) -> inspect.Parameter:
    kind: Any = list[spec.kind] if spec.many else spec.kind  # type: ignore[name-defined]
    bounds = f" ({spec.bounds})" if spec.bounds and not spec.many and abs(spec.high or 0) < 1e9 else ""
    option = typer.Option(f"--{spec.name.replace('_', '-')}", help=spec.help + bounds, rich_help_panel="Sampling")
    return inspect.Parameter(
        spec.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[kind], option],  # noqa: UP045
    )
