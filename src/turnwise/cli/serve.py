"""`turnwise serve`: the API and the chat page."""

from pathlib import Path
from typing import Annotated, Any

import typer

from turnwise.cli.options import sampling_flags


@sampling_flags
def serve(
    model: Annotated[
        str | None, typer.Argument(help="A model folder in the Hugging Face layout; left out: the model in the box.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8000,
    dtype: Annotated[str, typer.Option(help="Type of the weights: auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    slots: Annotated[int, typer.Option(help="Most chats answered at the same time.", min=1)] = 32,
    threads: Annotated[int | None, typer.Option(help="Processor threads; left out: all.", min=1)] = None,
    name: Annotated[str | None, typer.Option(help="What the model is called in the API.")] = None,
    store: Annotated[str | None, typer.Option(help="Where conversations are kept: sqlite:///FILE, or 'none'.")] = None,
    web: Annotated[bool, typer.Option(help="Serve the chat page at /.")] = True,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen on an address other machines reach, without a key.")
    ] = False,
    *,
    asked: dict[str, Any],
) -> None:
    """Serve a model: an OpenAI-compatible API, and a chat page in the browser.

    **Examples**

    ```
    turnwise serve
    turnwise serve runs/mine --port 9000 --temperature 0.3
    curl localhost:8000/v1/chat/completions --json \\
      '{"model": "latest", "messages": [{"role": "user", "content": "Hello!"}]}'
    ```
    """
    from turnwise.assemble import chat_service, conversation_store
    from turnwise.core.parameters import GenerationParams
    from turnwise.server.app import create_app
    from turnwise.server.run import serve as run

    GenerationParams.resolve(asked)  # a wrong default should be said now, not at the first request
    with (
        conversation_store(store) as kept,
        chat_service(
            model,
            dtype=dtype,
            device=device,
            slots=slots,
            threads=threads,
            store=kept,
            defaults=asked,
            name=name,
        ) as service,
    ):
        typer.echo(f"{service.name}: context of {service.context_length:,} tokens, up to {slots} chats at a time.")
        if kept is not None:
            typer.echo(f"Conversations of the chat page are kept in {_where(store)}.")
        app = create_app({service.name: service}, default=service.name, web=web)
        run(app, host, port, allow_remote=allow_remote)


def _where(store: str | None) -> str:
    from turnwise.core.settings import Settings

    return str(Path((store or Settings.from_environment().store_url).removeprefix("sqlite:///")))
