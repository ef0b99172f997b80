"""`turnwise serve`: the API and the chat page."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from turnwise.cli.console_output import warn_missing_chat_template
from turnwise.cli.shared_flags import ContextPolicy, Threads, sampling_flags
from turnwise.core.inference import Quantization

if TYPE_CHECKING:
    from turnwise.chat.service import EngineChatService

LIMITS_PANEL = "Access and limits"


@sampling_flags
def serve(
    model: Annotated[
        str | None, typer.Argument(help="Model folder in the Hugging Face layout. Default: the bundled model.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8000,
    dtype: Annotated[str, typer.Option(help="Type of the weights: auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="Device that runs the model: auto, cpu or cuda.")] = "auto",
    quantize: Annotated[
        Quantization | None,
        typer.Option(help="Quantize the weights: faster, less memory, a little less accurate."),
    ] = None,
    slots: Annotated[
        int,
        typer.Option(
            help="Maximum number of chats answered at the same time; each beam of a search counts as one.", min=1
        ),
    ] = 32,
    cache_memory: Annotated[
        float | None,
        typer.Option(
            help="KV-cache size in GB. Default: enough for --slots full contexts, at most a quarter of the memory.",
            min=0.001,
        ),
    ] = None,
    threads: Threads = None,
    name: Annotated[str | None, typer.Option(help="Name of the model in the API.")] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="Serve an adapter or a second model too, as NAME=FOLDER; requests choose it by `model`. Repeatable."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Where to store conversations: sqlite:///FILE, or 'none'. Default: a file in TURNWISE_HOME."),
    ] = None,
    context_policy: ContextPolicy = "refuse",
    web: Annotated[bool, typer.Option(help="Serve the chat page at /.")] = True,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a --host that other machines can reach even without API keys.")
    ] = False,
    require_key: Annotated[
        bool,
        typer.Option(
            "--require-key", help="Require an API key even if none has been created.", rich_help_panel=LIMITS_PANEL
        ),
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow web pages of this origin to use the API, such as https://example.org. Repeatable.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Accept this name in the Host header too, for a proxy on this machine. Repeatable.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(help="Maximum number of completions, running and waiting.", min=1, rich_help_panel=LIMITS_PANEL),
    ] = 256,
    timeout: Annotated[
        float, typer.Option(help="Maximum seconds for one completion.", min=0.1, rich_help_panel=LIMITS_PANEL)
    ] = 600,
    drain: Annotated[
        float,
        typer.Option(
            help="Seconds that running completions may take after Ctrl-C or SIGTERM; a second signal stops at once.",
            min=0,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 30,
    timeout_keep_alive: Annotated[
        float,
        typer.Option(
            help="Seconds that a connection may be idle between requests. Set it higher than in clients and proxies.",
            min=1,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 120,
    send_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds after which a client that does not read its answer is disconnected.",
            min=0.1,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 60,
    sse_keep_alive_interval: Annotated[
        float,
        typer.Option(
            help="Seconds of silence after which a stream sends a comment, so that proxies keep it open.",
            min=0.1,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 15,
    body_limit: Annotated[
        int, typer.Option(help="Maximum size of a request body in bytes.", min=1024, rich_help_panel=LIMITS_PANEL)
    ] = 4 * 2**20,
    ignore_unknown: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown",
            help="Ignore unknown request fields instead of refusing them; a response header lists them.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = False,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(help="Log lines as text, or one JSON object per request.", rich_help_panel=LIMITS_PANEL),
    ] = "text",
    *,
    sampling: dict[str, Any],
) -> None:
    """Serve a model with an OpenAI-compatible API and a chat page in the browser.

    **Examples**

    ```
    turnwise serve
    turnwise serve runs/mine --port 9000 --temperature 0.3 --context-policy drop_oldest
    turnwise serve runs/mine --quantize int8
    turnwise serve --adapter polite=runs/polite --adapter brief=runs/brief
    turnwise keys create --name me && turnwise serve --host 0.0.0.0 --log-format json
    curl localhost:8000/v1/chat/completions --json \\
      '{"model": "latest", "messages": [{"role": "user", "content": "Hello!"}]}'
    ```
    """
    from turnwise.app.chat_services import open_chat_service
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.app.shared_base_engines import SharedBaseEngines
    from turnwise.app.stores import open_conversation_store
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.parameters import GenerationParams
    from turnwise.core.settings import Settings
    from turnwise.server.app import create_app
    from turnwise.server.middleware.concurrency_limit import ServerLimits
    from turnwise.server.middleware.cors import parse_origin
    from turnwise.server.uvicorn_server import check_address
    from turnwise.server.uvicorn_server import serve as run
    from turnwise.store import open_key_store

    GenerationParams.resolve(sampling)  # a wrong default should be said now, not at the first request
    origins = [parse_origin(said) for said in allow_origin or ()]
    keys = open_key_store(Settings.from_environment().keys_url)
    any_key = bool(keys.list())  # a damaged file too should be said now
    more = _parse_adapters(adapter or ())
    check_address(host, port, allow_remote=allow_remote, requires_key=any_key or require_key)
    for folder in (model, *more.values()):
        resolve_model_folder(folder)  # the last one should not be missed after the others were loaded
    base_engines = SharedBaseEngines()
    with ExitStack() as stack:
        kept = stack.enter_context(open_conversation_store(store))

        def started(folder: str | None, called: str | None) -> "EngineChatService":
            return stack.enter_context(
                open_chat_service(
                    folder,
                    dtype=dtype,
                    device=device,
                    quantize=quantize,
                    kv_cache_memory_bytes=None if cache_memory is None else int(cache_memory * 1e9),
                    max_num_seqs=slots,
                    threads=threads,
                    store=kept,
                    defaults=sampling,
                    name=called,
                    context_policy=context_policy,
                    base_engines=base_engines,
                    prepare=True,
                )
            )

        service = started(model, name)
        services = {service.name: service, **{called: started(folder, called) for called, folder in more.items()}}
        if len(services) <= len(more):
            raise InvalidParameter(
                "adapter", f"Two models would be called '{service.name}': give the adapter another name."
            )
        for each in services.values():
            warn_missing_chat_template(each)
            typer.echo(f"{each.name}: context of {each.context_length:,} tokens, up to {slots} chats at a time.")
        if kept is not None:
            typer.echo(f"Conversations of the chat page are kept in {_store_location(store)}.")
        if any_key:
            typer.echo("Requests need an API key; `turnwise keys list` shows which there are.")
        elif require_key:
            typer.echo("Requests need an API key, and there is none yet. Make one: turnwise keys create --name NAME")
        app = create_app(
            services,
            default=service.name,
            web=web,
            body_limit=body_limit,
            allowed_hosts=allowed_host or (),
            allow_origins=origins,
            keys=keys,
            require_key=require_key,
            limits=ServerLimits(max_concurrent_requests=queue, request_timeout=timeout, max_num_seqs=slots),
            ignore_unknown=ignore_unknown,
            sse_keep_alive=sse_keep_alive_interval,
        )
        run(
            app, host, port, allow_remote=allow_remote, drain=drain, log_format=log_format,
            keep_alive=timeout_keep_alive, send_timeout=send_timeout,
        )  # fmt: skip


def _parse_adapters(said: Sequence[str]) -> dict[str, str]:
    """NAME=FOLDER, as folders by name."""
    from turnwise.core.errors import InvalidParameter

    found: dict[str, str] = {}
    for entry in said:
        name, parted, folder = entry.partition("=")
        if not (name and parted and folder) or name in found:
            raise InvalidParameter("adapter", f"--adapter {entry}: should be NAME=FOLDER, each name once.")
        found[name] = folder
    return found


def _store_location(store: str | None) -> str:
    from turnwise.core.settings import Settings

    return str(Path((store or Settings.from_environment().store_url).removeprefix("sqlite:///")))
