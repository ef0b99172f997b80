"""`turnwise serve`: the API and the chat page."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from turnwise.cli.console_output import warn_fallback_model, warn_missing_chat_template
from turnwise.cli.shared_flags import (
    ContextPolicy,
    Device,
    Dtype,
    PromptTemplate,
    PromptVariable,
    Quantize,
    QuantizeClassifier,
    ServedFormat,
    Store,
    Threads,
    sampling_flags,
)

if TYPE_CHECKING:
    from turnwise.chat.service import EngineChatService
    from turnwise.core.served_versions import AnsweringVersion

LIMITS_PANEL = "Access and limits"


@sampling_flags
def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Name of `turnwise models list`, model folder, or a version such as NAME@3. Default: `assistant`, or "
            "`tiny` until the base model of `assistant` is pulled.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8000,
    dtype: Dtype = "auto",
    device: Device = "auto",
    quantize: Quantize = None,
    max_num_seqs: Annotated[
        int,
        typer.Option(
            help="Maximum number of sequences that are generated at the same time. Each beam is one sequence.", min=1
        ),
    ] = 32,
    kv_cache_gb: Annotated[
        float | None,
        typer.Option(
            help="KV-cache size in GB, all of which cached prefixes may use. Default: --max-num-seqs full contexts, at "
            "most a quarter of the memory; cached prefixes use at most 1/64 of the memory.",
            min=0.001,
        ),
    ] = None,
    threads: Threads = None,
    served_model_name: Annotated[
        str | None, typer.Option(help="Name of the model in the API. Default: the folder's name.")
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Additional adapter or model, as NAME=FOLDER. Requests select it by `model`. Repeatable."),
    ] = None,
    embedding_model: Annotated[
        str | None,
        typer.Option(
            help="Embedding model for /v1/embeddings: minilm, e5-small, another name of `turnwise models list`, or a "
            "folder. Default: only the chat model's own embeddings."
        ),
    ] = None,
    embedding_quantize: Annotated[
        Literal["int8"] | None, typer.Option(help="Quantize the weights of the embedding model.")
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="Classifier for /v1/classify or tagger for /v1/tag: a bundled one by name, FOLDER or NAME=FOLDER. "
            "Repeatable."
        ),
    ] = None,
    classifier_quantize: QuantizeClassifier = None,
    monitor: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Store of a text monitor, to show at /monitor and on /v1/monitor while `turnwise monitor run` writes "
            "it. Default: none.",
        ),
    ] = None,
    knowledge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FOLDER]",
            help="Knowledge base of `turnwise knowledge`: a name in TURNWISE_HOME, or NAME=FOLDER. Requests name it as "
            "`knowledge`. Repeatable.",
        ),
    ] = None,
    scenarios: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder whose folders are scenarios, besides the built-in ones and those in TURNWISE_HOME/scenarios. "
            "Requests name one as `scenario`. Repeatable.",
        ),
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(metavar="NAME", help="Scenario that answers requests which name none. Default: none.")
    ] = None,
    rewrite_templates: Annotated[
        bool,
        typer.Option(
            "--rewrite-templates",
            help="Let the model put template answers in the tone of the scenario. Numbers and names stay. Default: "
            "send templates word for word.",
        ),
    ] = False,
    best_of: Annotated[
        Literal["likelihood", "discriminator"],
        typer.Option(
            help="What ranks the choices of requests with `best_of`: the mean log-probability of their tokens, or the "
            "discriminator that adversarial tuning left in the model folder."
        ),
    ] = "likelihood",
    store: Store = None,
    versions: Annotated[
        bool,
        typer.Option(
            help="Follow the versions of the served models (`turnwise models versions`): the one that serves, canary "
            "and shadow; changes take effect without a restart."
        ),
    ] = True,
    interaction_format: ServedFormat = None,
    context_policy: ContextPolicy = "refuse",
    prompt_template: PromptTemplate = None,
    prompt_variable: PromptVariable = None,
    web: Annotated[bool, typer.Option(help="Serve the chat page at /.")] = True,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a --host that other machines can reach even without API keys.")
    ] = False,
    require_api_key: Annotated[
        bool,
        typer.Option(
            "--require-api-key", help="Require an API key even if none has been created.", rich_help_panel=LIMITS_PANEL
        ),
    ] = False,
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow web pages of this origin to use the API, such as https://example.org. Repeatable.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Additional host name to accept in the Host header, for a reverse proxy. Repeatable.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    max_concurrent_requests: Annotated[
        int,
        typer.Option(help="Maximum number of completions, running and waiting.", min=1, rich_help_panel=LIMITS_PANEL),
    ] = 256,
    request_timeout: Annotated[
        float,
        typer.Option(help="Maximum duration of one completion in seconds.", min=0.1, rich_help_panel=LIMITS_PANEL),
    ] = 600,
    timeout_graceful_shutdown: Annotated[
        float,
        typer.Option(
            help="Seconds that running completions may take after Ctrl-C or SIGTERM. A second signal stops at once.",
            min=0,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 30,
    timeout_keep_alive: Annotated[
        float,
        typer.Option(
            help="Seconds that a connection may be idle between requests. Set it longer than the idle timeout of "
            "clients and proxies.",
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
    collect: Annotated[
        Literal["off", "metadata", "full"],
        typer.Option(
            help="The most that is collected to improve the model: off, metadata (ratings and counts) or full (also "
            "texts). API keys and requests can be stricter.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = "full",
    retention_days: Annotated[
        float | None,
        typer.Option(
            help="Delete conversations, completions and responses that have not changed for this number of days, at "
            "the start and then daily. Default: keep them.",
            min=0.01,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    max_body_size: Annotated[
        int, typer.Option(help="Maximum size of a request body in bytes.", min=1024, rich_help_panel=LIMITS_PANEL)
    ] = 4 * 2**20,
    max_document_size: Annotated[
        int,
        typer.Option(
            help="Maximum size in bytes of a document that is added to a knowledge base.",
            min=1024,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 32 * 2**20,
    ignore_unknown_fields: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown-fields",
            help="Ignore unknown request fields instead of rejecting them; a response header lists them.",
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
    turnwise serve gpt2 --format human_assistant
    turnwise serve runs/mine --quantize int8
    turnwise serve --adapter polite=runs/polite --adapter brief=runs/brief
    turnwise serve --embedding-model e5-small
    turnwise serve --classifier financial-sentiment --classifier names=runs/conll
    turnwise serve --monitor monitor.db
    turnwise serve --scenario customer_service --embedding-model e5-small
    turnwise serve runs/adversarial --best-of discriminator
    turnwise serve --no-versions
    turnwise serve --knowledge handbook --knowledge shop=./shop_documents
    turnwise keys create --name me && turnwise serve --host 0.0.0.0 --log-format json
    curl localhost:8000/v1/chat/completions --json \\
      '{"model": "latest", "messages": [{"role": "user", "content": "Hello!"}]}'
    ```
    """
    from turnwise.app.chat_services import open_chat_service
    from turnwise.app.embedding_services import check_embedding_model, open_embedding_service
    from turnwise.app.knowledge.served_base import parse_knowledge
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.app.personal_data import daily_retention
    from turnwise.app.prompts.library import render_prompt
    from turnwise.app.scenario_services import ServicePath, open_resources, open_scenario_library
    from turnwise.app.shared_base_engines import SharedBaseEngines
    from turnwise.app.stores import open_conversation_store, open_served_monitor
    from turnwise.app.version_serving.model_opener import ModelOpener
    from turnwise.app.version_serving.version_adopter import VersionAdopter
    from turnwise.cli.serve_classifiers import open_classifiers, parse_classifiers
    from turnwise.cli.serve_improvement import open_improvement
    from turnwise.cli.serve_knowledge import open_knowledge
    from turnwise.cli.serve_scenarios import start_fitting
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.parameters import GenerationParams
    from turnwise.core.settings import Settings
    from turnwise.server.app import create_app
    from turnwise.server.middleware.concurrency_limit import ServerLimits
    from turnwise.server.middleware.cors import parse_origin
    from turnwise.server.uvicorn_server import check_address
    from turnwise.server.uvicorn_server import serve as run
    from turnwise.store import open_key_store

    system_prompt = render_prompt(prompt_template, prompt_variable or ())
    GenerationParams.resolve(sampling)  # reject an invalid default before the model is loaded
    origins = [parse_origin(origin) for origin in allowed_origin or ()]
    keys = open_key_store(Settings.from_environment().keys_url)
    has_keys = bool(keys.list())  # also rejects a damaged key file before the model is loaded
    adapters = _parse_adapters(adapter or ())
    check_address(host, port, allow_remote=allow_remote, requires_key=has_keys or require_api_key)
    for folder in (model, *adapters.values()):
        resolve_model_folder(folder)  # reject a missing folder before any model is loaded
    if retention_days is not None and store == "none":
        raise InvalidParameter("retention_days", "--retention-days needs a store; leave --store none out.")
    if embedding_model is not None:
        check_embedding_model(embedding_model, embedding_quantize)
    elif embedding_quantize is not None:
        raise InvalidParameter("embedding_quantize", "--embedding-quantize needs --embedding-model.")
    library = open_scenario_library(scenarios or (), scenario)
    knowledge_folders = parse_knowledge(knowledge or ())
    classifier_models = parse_classifiers(classifier or (), classifier_quantize)
    warn_fallback_model(model)
    base_engines = SharedBaseEngines()
    with ExitStack() as stack:
        served_monitor = stack.enter_context(open_served_monitor(monitor))
        knowledge_bases = open_knowledge(knowledge_folders, stack, threads)
        conversations = stack.enter_context(open_conversation_store(store))
        stack.enter_context(daily_retention(conversations, retention_days))

        @contextmanager
        def open_model(folder: Path, name: str, version: "AnsweringVersion | None") -> "Iterator[EngineChatService]":
            with open_chat_service(
                str(folder),
                dtype=dtype,
                device=device,
                quantize=quantize,
                kv_cache_memory_bytes=None if kv_cache_gb is None else int(kv_cache_gb * 1e9),
                max_num_seqs=max_num_seqs,
                threads=threads,
                store=conversations,
                defaults=sampling,
                name=name,
                format=interaction_format,
                system_prompt=system_prompt,
                context_policy=context_policy,
                base_engines=base_engines,
                prepare=True,
                version=version,
                best_of=best_of,
            ) as service:
                warn_missing_chat_template(service)
                yield service

        opener = ModelOpener(stack, open_model, uses_versions=versions)
        embedding_services = {}
        if embedding_model is not None:
            embeddings = open_embedding_service(embedding_model, quantize=embedding_quantize, threads=threads)
            embedding_services[embeddings.name] = embeddings
        path = ServicePath(
            library,
            open_resources(next(iter(embedding_services.values()), None)),
            opener.models,
            scenario,
            knowledge_bases,
            rewrite_templates,
        )
        default = opener.open(model, served_model_name, path)
        for name, folder in adapters.items():
            opener.open(folder, name, path)
        if versions:
            stack.enter_context(VersionAdopter(opener, path))
        services = opener.services
        for embeddings in embedding_services.values():
            if embeddings.name in services:
                raise InvalidParameter("embedding_model", f"Two models have the name '{embeddings.name}'.")
            typer.echo(f"{embeddings.name}: embeddings of up to {embeddings.max_input_tokens:,} tokens.")
        classifiers = open_classifiers(
            classifier_models,
            taken_names={*services, *embedding_services},
            quantize=classifier_quantize,
            threads=threads,
        )
        for service in services.values():
            typer.echo(
                f"{service.name}: context of {service.context_length:,} tokens, up to {max_num_seqs} sequences at once."
            )
        if best_of == "discriminator":
            typer.echo("The choices of 'best_of' are ranked by the discriminator of each model.")
        for supervisor in opener.supervisors.values():
            typer.echo(f"{supervisor.describe()}.")
        for name, ignored in opener.ignored.items():
            typer.echo(f"{ignored} is no version of {name} and is not served. To serve it: --no-versions.")
        if conversations is not None:
            typer.echo(f"Conversations of the chat page are stored in {_store_location(store)}.")
            if retention_days is not None:
                typer.echo(f"What has not changed for {retention_days:g} days is deleted.")
        if monitor is not None:
            typer.echo(f"The text monitor of {monitor} is shown {'at /monitor' if web else 'on /v1/monitor'}.")
        _report_keys(has_keys=has_keys, require_api_key=require_api_key)
        if scenario is not None:
            typer.echo(f"The scenario '{scenario}' answers requests that name none.")
        app = create_app(
            services,
            default=default,
            embedding_services=embedding_services,
            classifiers=classifiers,
            knowledge=knowledge_bases,
            monitor=served_monitor,
            version_control=opener.control,
            improvement=open_improvement(conversations),
            has_handoffs=conversations is not None,
            collect=collect,
            web=web,
            body_limit=max_body_size,
            document_limit=max_document_size,
            allowed_hosts=allowed_host or (),
            allow_origins=origins,
            keys=keys,
            require_key=require_api_key,
            limits=ServerLimits(
                max_concurrent_requests=max_concurrent_requests,
                request_timeout=request_timeout,
                max_num_seqs=max_num_seqs,
            ),
            ignore_unknown=ignore_unknown_fields,
            sse_keep_alive=sse_keep_alive_interval,
        )
        run(
            app, host, port, allow_remote=allow_remote, drain=timeout_graceful_shutdown, log_format=log_format,
            keep_alive=timeout_keep_alive, send_timeout=send_timeout,
            on_listening=partial(start_fitting, path.resources, library, scenario),
        )  # fmt: skip


def _parse_adapters(assignments: Sequence[str]) -> dict[str, str]:
    """Folders by name, from NAME=FOLDER. Raises `InvalidParameter`."""
    from turnwise.core.errors import InvalidParameter

    folders: dict[str, str] = {}
    for assignment in assignments:
        name, _, folder = assignment.partition("=")
        if not (name and folder) or name in folders:
            raise InvalidParameter("adapter", f"--adapter {assignment}: must be NAME=FOLDER, each name once.")
        folders[name] = folder
    return folders


def _report_keys(*, has_keys: bool, require_api_key: bool) -> None:
    if has_keys:
        typer.echo("Requests need an API key; `turnwise keys list` shows the keys.")
    elif require_api_key:
        typer.echo("Requests need an API key, and there is none yet. Create one: turnwise keys create --name NAME")


def _store_location(store: str | None) -> str:
    from turnwise.core.settings import Settings

    return str(Path((store or Settings.from_environment().store_url).removeprefix("sqlite:///")))
