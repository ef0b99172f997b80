"""Flags that several commands share, and one flag per declared generation parameter."""

import inspect
import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, Optional

import typer

from turnwise.core.inference import Quantization
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.core.parameters import PARAMETER_SPECS

Dtype = Annotated[str, typer.Option(help="Type of the weights: auto, float32, bfloat16 or float16.")]

Device = Annotated[str, typer.Option(help="Device that runs the model: auto, cpu or cuda.")]

Quantize = Annotated[
    Quantization | None,
    typer.Option(help="Quantize the weights: faster, less memory, a little less accurate. Default: full precision."),
]

QuantizeClassifier = Annotated[
    Quantization | None,
    typer.Option(
        help="Quantize the weights of a classifier on an encoder, int8 only: faster, less memory, a little less "
        "accurate. Default: full precision."
    ),
]

Store = Annotated[
    str | None,
    typer.Option(help="Store of conversations: sqlite:///FILE, or 'none'. Default: a file in TURNWISE_HOME."),
]

ContextPolicy = Annotated[
    str,
    typer.Option(
        help="Policy for conversations longer than the model's context: refuse, drop_oldest, sliding_window or "
        "summarise."
    ),
]

Threads = Annotated[
    int | None,
    typer.Option(
        help="Maximum number of processor threads for the model. Default: one per core, fewer while other processes "
        "use the cores.",
        min=1,
    ),
]


def sampling_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: add one flag per generation parameter. The command receives the used ones as the dict `sampling`.

    A parameter of the command with the same name, such as `seed`, takes precedence.
    """
    own_names = inspect.signature(command).parameters
    flags = [_flag(spec) for spec in PARAMETER_SPECS.values() if spec.has_cli_flag and spec.name not in own_names]
    return with_flags(command, "sampling", flags, dict)


def with_flags(
    command: Callable[..., None],
    keyword: str,
    flags: Sequence[inspect.Parameter],
    collect: Callable[[dict[str, Any]], Any],
) -> Callable[..., None]:
    """Replace a parameter of a command by flags.

    Args:
        command: the command's function.
        keyword: the keyword-only parameter to replace.
        flags: one parameter per flag.
        collect: returns the value of `keyword` for a dict of the used flags.
    """
    signature = inspect.signature(command)
    parameters = [*(parameter for parameter in signature.parameters.values() if parameter.name != keyword), *flags]

    @wraps(command)
    def wrapped(**values: Any) -> None:
        used = {flag.name: value for flag in flags if (value := values.pop(flag.name)) not in (None, [], ())}
        command(**values, **{keyword: collect(used)})

    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return wrapped


def _flag_name(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def _with_dashes(match: re.Match[str]) -> str:
    """A quoted parameter as a flag: --top-k for 'top_k'; other quoted words as they are."""
    spec = PARAMETER_SPECS.get(match.group(1))
    return _flag_name(spec.name) if spec is not None and spec.has_cli_flag else match.group()


def _flag(spec: ParameterSpec) -> inspect.Parameter:
    kind: Any = list[spec.kind] if spec.is_list else spec.kind  # type: ignore[name-defined]
    has_bounds = spec.bounds and not spec.is_list and abs(spec.maximum or 0) < 1e9
    bounds = f" {spec.bounds.capitalize()}." if has_bounds else ""
    help_text = re.sub(r"'(\w+)'", _with_dashes, spec.description) + bounds
    option = typer.Option(_flag_name(spec.name), help=help_text, rich_help_panel="Sampling")
    return inspect.Parameter(
        spec.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[kind], option],  # noqa: UP045
    )
