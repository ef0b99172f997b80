"""Options of `turnwise serve` for access, limits and records."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

LIMITS_PANEL = "Access and limits"


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Who may use the API."""

    require_api_key: Annotated[
        bool,
        typer.Option(
            "--require-api-key", help="Require an API key even if none has been created.", rich_help_panel=LIMITS_PANEL
        ),
    ] = False
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Allow web pages of this origin to use the API, such as https://example.org. Repeatable.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Additional host name to accept in the Host header, for a reverse proxy. Repeatable.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """Limits of requests and connections."""

    max_concurrent_requests: Annotated[
        int,
        typer.Option(help="Maximum number of completions, running and waiting.", min=1, rich_help_panel=LIMITS_PANEL),
    ] = 256
    request_timeout: Annotated[
        float,
        typer.Option(help="Maximum duration of one completion in seconds.", min=0.1, rich_help_panel=LIMITS_PANEL),
    ] = 600
    timeout_graceful_shutdown: Annotated[
        float,
        typer.Option(
            help="Seconds that running completions may take after Ctrl-C or SIGTERM. A second signal stops at once.",
            min=0,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 30
    timeout_keep_alive: Annotated[
        float,
        typer.Option(
            help="Seconds that a connection may be idle between requests. Set it longer than the idle timeout of "
            "clients and proxies.",
            min=1,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 120
    send_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds after which a client that does not read its answer is disconnected.",
            min=0.1,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 60
    sse_keep_alive_interval: Annotated[
        float,
        typer.Option(
            help="Seconds of silence after which a stream sends a comment, so that proxies keep it open.",
            min=0.1,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 15
    max_body_size: Annotated[
        int, typer.Option(help="Maximum size of a request body in bytes.", min=1024, rich_help_panel=LIMITS_PANEL)
    ] = 4 * 2**20
    max_document_size: Annotated[
        int,
        typer.Option(
            help="Maximum size in bytes of a document that is added to a knowledge base.",
            min=1024,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 32 * 2**20
    max_dataset_size: Annotated[
        int,
        typer.Option(
            help="Maximum size in bytes of a data set that is uploaded.", min=1024, rich_help_panel=LIMITS_PANEL
        ),
    ] = 2**30
    ignore_unknown_fields: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown-fields",
            help="Ignore unknown request fields instead of rejecting them; a response header lists them.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What is recorded, and for how long."""

    collect: Annotated[
        Literal["off", "metadata", "full"],
        typer.Option(
            help="The most that is collected to improve the model: off, metadata (ratings and counts) or full (also "
            "texts). API keys and requests can be stricter.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = "full"
    retention_days: Annotated[
        float | None,
        typer.Option(
            help="Delete conversations, completions and responses that have not changed for this number of days, at "
            "the start and then daily. Default: keep them.",
            min=0.01,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(help="Log lines as text, or one JSON object per request.", rich_help_panel=LIMITS_PANEL),
    ] = "text"
