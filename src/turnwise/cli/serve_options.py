"""Options of `turnwise serve`, by subject; those of access and limits are in `serve_limits.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from turnwise.cli.serve_limits import AccessOptions, LimitOptions, RecordOptions
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
)
from turnwise.core.reply_scoring import BestOfRanking


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Where the server listens."""

    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)] = 8000
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a --host that other machines can reach even without API keys.")
    ] = False


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How models are loaded, and what they may use."""

    dtype: Dtype = "auto"
    device: Device = "auto"
    quantize: Quantize = None
    max_num_seqs: Annotated[
        int,
        typer.Option(
            help="Maximum number of sequences that are generated at the same time. Each beam is one sequence.", min=1
        ),
    ] = 32
    kv_cache_gb: Annotated[
        float | None,
        typer.Option(
            help="KV-cache size in GB, all of which cached prefixes may use. Default: --max-num-seqs full contexts, at "
            "most a quarter of the memory; cached prefixes use at most 1/64 of the memory.",
            min=0.001,
        ),
    ] = None
    threads: Threads = None


@dataclass(frozen=True, slots=True)
class ServedModelOptions:
    """Which chat models are served besides MODEL, and their names."""

    served_model_name: Annotated[
        str | None, typer.Option(help="Name of the model in the API. Default: the folder's name.")
    ] = None
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Additional adapter or model, as NAME=FOLDER. Requests select it by `model`. Repeatable."),
    ] = None
    versions: Annotated[
        bool,
        typer.Option(
            help="Follow the versions of the served models (`turnwise models versions`): the one that serves, canary "
            "and shadow; changes take effect without a restart."
        ),
    ] = True
    best_of: Annotated[
        BestOfRanking,
        typer.Option(
            help="What ranks the choices of requests with `best_of`: the mean log-probability of their tokens, or the "
            "discriminator that adversarial tuning left in the model folder."
        ),
    ] = "likelihood"


@dataclass(frozen=True, slots=True)
class AuxiliaryModelOptions:
    """Models for embeddings and classification."""

    embedding_model: Annotated[
        str | None,
        typer.Option(
            help="Embedding model for /v1/embeddings: minilm, e5-small, another name of `turnwise models list`, or a "
            "folder. Default: only the chat model's own embeddings."
        ),
    ] = None
    embedding_quantize: Annotated[
        Literal["int8"] | None, typer.Option(help="Quantize the weights of the embedding model.")
    ] = None
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="Classifier for /v1/classify or tagger for /v1/tag: a bundled one by name, FOLDER or NAME=FOLDER. "
            "Repeatable."
        ),
    ] = None
    classifier_quantize: QuantizeClassifier = None


@dataclass(frozen=True, slots=True)
class ServicePathOptions:
    """What requests can name: knowledge bases and scenarios."""

    knowledge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FOLDER]",
            help="Knowledge base of `turnwise knowledge`: a name in TURNWISE_HOME, or NAME=FOLDER. Requests name it as "
            "`knowledge`. Repeatable.",
        ),
    ] = None
    scenarios: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder whose folders are scenarios, besides the built-in ones and those in TURNWISE_HOME/scenarios. "
            "Requests name one as `scenario`. Repeatable.",
        ),
    ] = None
    scenario: Annotated[
        str | None, typer.Option(metavar="NAME", help="Scenario that answers requests which name none. Default: none.")
    ] = None
    rewrite_templates: Annotated[
        bool,
        typer.Option(
            "--rewrite-templates",
            help="Let the model put template answers in the tone of the scenario. Numbers and names stay. Default: "
            "send templates word for word.",
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class ConversationOptions:
    """How conversations are stored and put into the context of a model."""

    store: Store = None
    interaction_format: ServedFormat = None
    context_policy: ContextPolicy = "refuse"
    prompt_template: PromptTemplate = None
    prompt_variable: PromptVariable = None
    auto_titles: Annotated[
        bool,
        typer.Option(help="Let the model write the title of a conversation of the chat page after its first answer."),
    ] = True


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Pages in the browser."""

    web: Annotated[bool, typer.Option(help="Serve the chat page at /.")] = True
    monitor: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Store of a text monitor, to show at /monitor and on /v1/monitor while `turnwise monitor run` writes "
            "it. Default: none.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """All options but those of sampling."""

    listening: ListenOptions
    engine: EngineOptions
    chat_models: ServedModelOptions
    auxiliary_models: AuxiliaryModelOptions
    service_path: ServicePathOptions
    conversations: ConversationOptions
    pages: PageOptions
    access: AccessOptions
    limits: LimitOptions
    records: RecordOptions
