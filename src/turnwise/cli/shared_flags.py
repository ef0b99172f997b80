"""Flags that several commands share, and one flag per declared generation parameter."""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import partial, wraps
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
        help="Policy for conversations longer than the model's context: refuse, drop_oldest, sliding_window, "
        "summarise, pinned or pinned_summary."
    ),
]

_FORMAT_HELP = (
    "Interaction format: turn_taking, question_answering, human_assistant, dialogpt, role_play, a chat template "
    "(FILE.jinja), or a format with options (FILE.yaml). Default: the one that the model was trained with."
)

# In commands that read data files, --format is the format of these.
InteractionFormatName = Annotated[str | None, typer.Option("--interaction-format", help=_FORMAT_HELP)]

ServedFormat = Annotated[str | None, typer.Option("--interaction-format", "--format", help=_FORMAT_HELP)]

PromptTemplate = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[@VERSION]",
        help="System prompt of the prompt library, for conversations without a system message; see `turnwise prompt`.",
    ),
]

PromptVariable = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Variable of --prompt-template. Repeatable.")
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


def option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: replace each keyword-only parameter whose type is a dataclass by one flag per field.

    A field that is a dataclass itself stands for the flags of its fields. Every other field has a default.
    """
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(parameter.annotation):
            group = parameter.annotation
            command = with_flags(command, name, list(_group_flags(group)), partial(_build_group, group))
    return command


def _group_flags(group: Any) -> Iterator[inspect.Parameter]:
    for field in fields(group):
        if is_dataclass(field.type):
            yield from _group_flags(field.type)
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            yield inspect.Parameter(field.name, kind, default=field.default, annotation=field.type)


def _build_group(group: Any, used: dict[str, Any]) -> Any:
    values = {
        field.name: _build_group(field.type, used) if is_dataclass(field.type) else used[field.name]
        for field in fields(group)
        if is_dataclass(field.type) or field.name in used
    }
    return group(**values)


def with_flags(
    command: Callable[..., None],
    keyword: str,
    flags: Sequence[inspect.Parameter],
    collect: Callable[[dict[str, Any]], Any],
) -> Callable[..., None]:
    """Replace a parameter of a command by flags, which are in its place.

    Args:
        command: the command's function.
        keyword: the keyword-only parameter to replace.
        flags: one parameter per flag.
        collect: returns the value of `keyword` for a dict of the used flags.
    """
    signature = inspect.signature(command)
    parameters = [
        replacement
        for parameter in signature.parameters.values()
        for replacement in (flags if parameter.name == keyword else (parameter,))
    ]

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
