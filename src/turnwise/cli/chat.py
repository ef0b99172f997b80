"""`turnwise chat`: talking in the terminal."""

from typing import Annotated, Any

import typer

from turnwise.cli.options import ContextPolicy, Threads, sampling_flags
from turnwise.cli.showing import note_missing_template
from turnwise.core.ports import Quantize


@sampling_flags
def chat(
    model: Annotated[
        str | None, typer.Argument(help="A model folder in the Hugging Face layout; left out: the model in the box.")
    ] = None,
    message: Annotated[
        str | None, typer.Argument(help="Say this, print the answer and exit, as --say does; MODEL may be left out.")
    ] = None,
    say: Annotated[
        str | None, typer.Option(help="Say this, print the answer and exit. '-' reads standard input.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message to begin with.")] = None,
    dtype: Annotated[str, typer.Option(help="Type of the weights: auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    quantize: Annotated[
        Quantize | None,
        typer.Option(help="Round the weights to so many bits: quicker, a little less exact."),
    ] = None,
    threads: Threads = None,
    store: Annotated[str | None, typer.Option(help="Where conversations are kept: sqlite:///FILE, or 'none'.")] = None,
    context_policy: ContextPolicy = "refuse",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last conversation.")] = False,
    load: Annotated[
        str | None,
        typer.Option(help="Go on with the conversation that has this id, this number in `/list`, or this text in it."),
    ] = None,
    *,
    asked: dict[str, Any],
) -> None:
    """Chat with a model in the terminal.

    Ctrl-C stops an answer, not the program; Ctrl-D or `/quit` leaves. `/help` lists what else can be typed.
    Conversations are stored; the page of `turnwise serve` shows them, too.

    **Examples**

    ```
    turnwise chat
    turnwise chat "How are you?"
    turnwise chat --say "How do I cancel my order?" --temperature 0
    turnwise chat runs/mine --system "You are terse."
    turnwise chat --resume
    ```
    """
    import io
    import sys

    from turnwise.assemble import chat_service, conversation_store
    from turnwise.cli.earlier import LAST
    from turnwise.cli.talk import Talk, say_once
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.parameters import GenerationParams

    GenerationParams.resolve(asked)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is piped in need not be valid text
    if model is not None and message is None and say is None and _is_message(model):
        model, message = None, model
    say = message if say is None else say
    _check_model(model)
    if say is not None:
        if resume or load is not None:
            raise InvalidParameter("say", "--say stores no conversation; leave --resume and --load out.")
        text = sys.stdin.read().strip() if say == "-" else say
        with chat_service(
            model,
            dtype=dtype,
            device=device,
            quantize=quantize,
            slots=1,
            threads=threads,
            context_policy=context_policy,
        ) as service:
            note_missing_template(service)
            say_once(service, text, system=system, asked=asked)
        return
    with (
        conversation_store(store) as kept,
        chat_service(
            model,
            dtype=dtype,
            device=device,
            quantize=quantize,
            slots=1,
            threads=threads,
            store=kept,
            context_policy=context_policy,
        ) as service,
    ):
        note_missing_template(service)
        Talk(service, system=system, asked=asked, resume=load or (LAST if resume else None)).run()


def _is_message(argument: str) -> bool:
    """Whether what stands in a model's place is something to say: words, the first of them no path."""
    from pathlib import Path

    from turnwise.core.files import path_exists

    first, *more = argument.split() or [""]
    return bool(more) and "/" not in first and not first.startswith((".", "~")) and not path_exists(Path(argument))


def _check_model(model: str | None) -> None:
    """Raise where there is no such model, with a hint where it may have been something to say."""
    from turnwise.assemble import resolve_model_folder
    from turnwise.core.errors import ModelNotFound

    try:
        resolve_model_folder(model)
    except ModelNotFound as error:
        if model is None or "/" in model or "." in model:
            raise
        raise ModelNotFound(f'{error} To say it to a model: turnwise chat --say "{model}"') from error
