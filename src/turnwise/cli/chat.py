"""`turnwise chat`: chat in the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.console_output import warn_fallback_model, warn_missing_chat_template
from turnwise.cli.shared_flags import (
    ContextPolicy,
    Device,
    Dtype,
    PromptTemplate,
    PromptVariable,
    Quantize,
    ServedFormat,
    Store,
    Threads,
    sampling_flags,
)

if TYPE_CHECKING:
    from turnwise.core.scenario import Scenario


@sampling_flags
def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Name of `turnwise models list`, model folder, or a version such as NAME@3. Default: `assistant`, or "
            "`tiny` until the base model of `assistant` is pulled.",
        ),
    ] = None,
    message: Annotated[
        str | None,
        typer.Argument(metavar="MESSAGE", help="Answer this message and exit, like --prompt. MODEL may be omitted."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Answer this message and exit; '-' reads it from standard input.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message at the beginning of the conversation.")] = None,
    prompt_template: PromptTemplate = None,
    prompt_variable: PromptVariable = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            help="Scenario that sets system message, examples, sampling defaults and, without MODEL, the adapter: a "
            "name of `turnwise scenario list`, or a folder."
        ),
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language of --scenario. Default: the scenario's.")] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    quantize: Quantize = None,
    threads: Threads = None,
    store: Store = None,
    interaction_format: ServedFormat = None,
    context_policy: ContextPolicy = "refuse",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the last conversation.")] = False,
    conversation: Annotated[
        str | None, typer.Option(help="Conversation to resume: its id, its number in `/list`, or a text in it.")
    ] = None,
    *,
    sampling: dict[str, Any],
) -> None:
    """Chat with a model in the terminal.

    Ctrl-C stops the answer, Ctrl-D or `/quit` quits, `/help` lists the commands.
    Conversations are stored; the chat page of `turnwise serve` lists them too.

    **Examples**

    ```
    turnwise chat
    turnwise chat "How are you?"
    turnwise chat --prompt "How do I cancel my order?" --temperature 0
    turnwise chat runs/mine --system "You are terse."
    turnwise chat gpt2 --format human_assistant --prompt "Human: Hello, how are you?\\nAssistant:"
    turnwise chat --scenario game_character --language en
    turnwise chat --resume
    ```
    """
    import io
    import sys

    from turnwise.app.chat_services import open_chat_service
    from turnwise.app.stores import open_conversation_store
    from turnwise.cli.chat_repl import ChatRepl
    from turnwise.cli.conversation_history import LAST_CONVERSATION
    from turnwise.cli.stream_answer import print_answer
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.parameters import GenerationParams

    texts = _chat_texts(system, scenario, language, prompt_template, prompt_variable)
    sampling = {**texts.sampling, **sampling}
    GenerationParams.resolve(sampling)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # piped input may be invalid UTF-8
    if model is not None and message is None and prompt is None and _is_message(model):
        model, message = None, model
    prompt = message if prompt is None else prompt
    model = texts.model if model is None else model
    _check_model(model)
    warn_fallback_model(model)
    open_service = partial(
        open_chat_service,
        model,
        dtype=dtype,
        device=device,
        quantize=quantize,
        max_num_seqs=1,
        threads=threads,
        format=interaction_format,
        context_policy=context_policy,
    )
    if prompt is not None:
        if resume or conversation is not None:
            raise InvalidParameter(
                "prompt", "--prompt stores no conversation and cannot be combined with --resume or --conversation."
            )
        text = sys.stdin.read().strip() if prompt == "-" else prompt
        with open_service() as service:
            warn_missing_chat_template(service)
            messages = service.interaction_format.receive(text)
            print_answer(service, messages, scenario=texts.fixed, sampling=sampling)
        return
    with open_conversation_store(store) as conversations, open_service(store=conversations) as service:
        warn_missing_chat_template(service)
        ChatRepl(
            service,
            scenario=texts.fixed,
            sampling=sampling,
            resume=conversation or (LAST_CONVERSATION if resume else None),
        ).run()


@dataclass(frozen=True, slots=True)
class ChatTexts:
    """What a chat begins with.

    Attributes:
        fixed: system message and examples.
        sampling: defaults of the generation parameters.
        model: adapter of the scenario; None: the default model.
    """

    fixed: "Scenario"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None


def _chat_texts(
    system: str | None,
    scenario: str | None,
    language: str | None,
    prompt_template: str | None,
    prompt_variable: list[str] | None,
) -> ChatTexts:
    """Read --system, --prompt-template or --scenario. Raises `InvalidParameter` for a combination of them."""
    from turnwise.app.prompts.library import render_prompt
    from turnwise.app.scenario_folders import find_scenario
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.scenario import Scenario

    if scenario is not None and system is not None:
        raise InvalidParameter("system", "--scenario sets the system message: leave --system out.")
    if scenario is None and language is not None:
        raise InvalidParameter("language", "--language needs --scenario.")
    if prompt_template is not None and system is not None:
        raise InvalidParameter("system", "--system and --prompt-template cannot be combined.")
    if prompt_template is not None and scenario is not None:
        raise InvalidParameter("scenario", "--scenario and --prompt-template cannot be combined.")
    if scenario is not None:
        definition = find_scenario(scenario)
        fixed = definition.as_scenario(definition.check_language(language))
        return ChatTexts(fixed, definition.settings.sampling, definition.settings.adapter)
    text = system if prompt_template is None else render_prompt(prompt_template, prompt_variable or ())
    return ChatTexts(Scenario(system_prompt=text))


def _is_message(argument: str) -> bool:
    """True if the argument is a message, not a model: several words, and the first one is not a path."""
    from pathlib import Path

    from turnwise.core.files import path_exists

    first, *more = argument.split() or [""]
    return bool(more) and "/" not in first and not first.startswith((".", "~")) and not path_exists(Path(argument))


def _check_model(model: str | None) -> None:
    """Raise `ModelNotFound` for a missing model, with a hint if the argument may be a message."""
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.core.errors import ModelNotFound

    try:
        resolve_model_folder(model)
    except ModelNotFound as error:
        if model is None or "/" in model or "." in model:
            raise
        raise ModelNotFound(f'{error} To send it as a message: turnwise chat --prompt "{model}"') from error
