"""`turnwise serve`: the API and the chat page."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.console_output import warn_fallback_model
from turnwise.cli.serve_options import ServeOptions
from turnwise.cli.shared_flags import option_groups, sampling_flags

if TYPE_CHECKING:
    from turnwise.app.version_serving.model_opener import ModelOpener
    from turnwise.chat.embedding_service import EncoderEmbeddingService


@sampling_flags
@option_groups
def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Name of `turnwise models list`, model folder, or a version such as NAME@3. Default: `assistant`, or "
            "`tiny` until the base model of `assistant` is pulled.",
        ),
    ] = None,
    *,
    options: ServeOptions,
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
    from turnwise.app.conversation_files import LocalConversationFiles
    from turnwise.app.personal_data import daily_retention
    from turnwise.app.scenario_services import ServicePath, open_resources
    from turnwise.app.stores import open_conversation_store, open_served_monitor
    from turnwise.app.version_serving.model_opener import ModelOpener
    from turnwise.app.version_serving.version_adopter import VersionAdopter
    from turnwise.cli.serve_checks import check_options
    from turnwise.cli.serve_classifiers import open_classifiers
    from turnwise.cli.serve_datasets import open_datasets
    from turnwise.cli.serve_improvement import open_improvement
    from turnwise.cli.serve_knowledge import open_knowledge
    from turnwise.cli.serve_models import chat_model_opener
    from turnwise.cli.serve_runs import open_runs
    from turnwise.cli.serve_scenarios import start_fitting
    from turnwise.improve.retention import delete_old_examples
    from turnwise.server.app import create_app
    from turnwise.server.middleware.concurrency_limit import ServerLimits
    from turnwise.server.uvicorn_server import serve as run

    checked = check_options(model, options, sampling)
    warn_fallback_model(model)
    engine, auxiliary, scenario = options.engine, options.auxiliary_models, options.service_path.scenario
    listening, access, limits, records = options.listening, options.access, options.limits, options.records
    uses_versions = options.chat_models.versions
    with ExitStack() as stack:
        monitor = stack.enter_context(open_served_monitor(options.pages.monitor))
        knowledge = open_knowledge(checked.knowledge, stack, engine.threads)
        conversations = stack.enter_context(open_conversation_store(options.conversations.store))
        stack.enter_context(daily_retention(conversations, records.retention_days, [delete_old_examples]))
        open_model = chat_model_opener(
            engine, options.conversations, system_prompt=checked.system_prompt, store=conversations,
            sampling=sampling, best_of=options.chat_models.best_of,
        )  # fmt: skip
        opener = ModelOpener(stack, open_model, uses_versions=uses_versions)
        embeddings = _open_embeddings(options)
        path = ServicePath(
            checked.scenarios, open_resources(embeddings), opener.models, scenario, knowledge,
            options.service_path.rewrite_templates,
        )  # fmt: skip
        default = opener.open(model, options.chat_models.served_model_name, path)
        for name, folder in checked.adapters.items():
            opener.open(folder, name, path)
        if uses_versions:
            stack.enter_context(VersionAdopter(opener, path))
        embedding_services = {} if embeddings is None else {embeddings.name: embeddings}
        _report_embeddings(embeddings, opener)
        classifiers = open_classifiers(
            checked.classifiers,
            taken_names={*opener.services, *embedding_services},
            quantize=auxiliary.classifier_quantize,
            threads=engine.threads,
        )
        _report(options, opener, has_keys=checked.has_keys)
        datasets = open_datasets(stack)
        app = create_app(
            opener.services,
            default=default,
            embedding_services=embedding_services,
            classifiers=classifiers,
            knowledge=knowledge,
            monitor=monitor,
            version_control=opener.control,
            improvement=open_improvement(conversations),
            datasets=datasets,
            runs=stack.enter_context(open_runs(datasets, conversations, opener, path)),
            has_handoffs=conversations is not None,
            conversation_files=LocalConversationFiles(),
            auto_titles=options.conversations.auto_titles,
            collect=records.collect,
            web=options.pages.web,
            body_limit=limits.max_body_size,
            document_limit=limits.max_document_size,
            dataset_limit=limits.max_dataset_size,
            allowed_hosts=access.allowed_host or (),
            allow_origins=checked.origins,
            keys=checked.keys,
            key_usage=checked.key_usage,
            require_key=access.require_api_key,
            limits=ServerLimits(
                max_concurrent_requests=limits.max_concurrent_requests,
                request_timeout=limits.request_timeout,
                max_num_seqs=engine.max_num_seqs,
            ),
            ignore_unknown=limits.ignore_unknown_fields,
            sse_keep_alive=limits.sse_keep_alive_interval,
        )
        run(
            app, listening.host, listening.port, allow_remote=listening.allow_remote,
            drain=limits.timeout_graceful_shutdown, log_format=records.log_format,
            keep_alive=limits.timeout_keep_alive, send_timeout=limits.send_timeout,
            on_listening=partial(start_fitting, path.resources, checked.scenarios, scenario),
        )  # fmt: skip


def _open_embeddings(options: ServeOptions) -> "EncoderEmbeddingService | None":
    from turnwise.app.embedding_services import open_embedding_service

    auxiliary = options.auxiliary_models
    if auxiliary.embedding_model is None:
        return None
    return open_embedding_service(
        auxiliary.embedding_model, quantize=auxiliary.embedding_quantize, threads=options.engine.threads
    )


def _report_embeddings(embeddings: "EncoderEmbeddingService | None", opener: "ModelOpener") -> None:
    """Print what the embedding model does. Raises `InvalidParameter` if a chat model has its name."""
    from turnwise.core.errors import InvalidParameter

    if embeddings is None:
        return
    if embeddings.name in opener.services:
        raise InvalidParameter("embedding_model", f"Two models have the name '{embeddings.name}'.")
    typer.echo(f"{embeddings.name}: embeddings of up to {embeddings.max_input_tokens:,} tokens.")


def _report(options: ServeOptions, opener: "ModelOpener", *, has_keys: bool) -> None:
    """Print what is served, and what is stored."""
    num_seqs, scenario = options.engine.max_num_seqs, options.service_path.scenario
    for service in opener.services.values():
        typer.echo(f"{service.name}: context of {service.context_length:,} tokens, up to {num_seqs} sequences at once.")
    if options.chat_models.best_of == "discriminator":
        typer.echo("The choices of 'best_of' are ranked by the discriminator of each model.")
    for supervisor in opener.supervisors.values():
        typer.echo(f"{supervisor.describe()}.")
    for name, ignored in opener.ignored.items():
        typer.echo(f"{ignored} is no version of {name} and is not served. To serve it: --no-versions.")
    if options.conversations.store != "none":
        typer.echo(f"Conversations of the chat page are stored in {_store_location(options.conversations.store)}.")
        if options.records.retention_days is not None:
            typer.echo(f"What has not changed for {options.records.retention_days:g} days is deleted.")
    if options.pages.monitor is not None:
        address = "at /monitor" if options.pages.web else "on /v1/monitor"
        typer.echo(f"The text monitor of {options.pages.monitor} is shown {address}.")
    _report_keys(has_keys=has_keys, require_api_key=options.access.require_api_key)
    if scenario is not None:
        typer.echo(f"The scenario '{scenario}' answers requests that name none.")


def _report_keys(*, has_keys: bool, require_api_key: bool) -> None:
    if has_keys:
        typer.echo("Requests need an API key; `turnwise keys list` shows the keys.")
    elif require_api_key:
        typer.echo("Requests need an API key, and there is none yet. Create one: turnwise keys create --name NAME")


def _store_location(store: str | None) -> str:
    from turnwise.core.settings import Settings

    return str(Path((store or Settings.from_environment().store_url).removeprefix("sqlite:///")))
