"""`turnwise models versions`, `history` and `diff`: what the versions of a model are, and how they came about."""

from typing import Annotated

import typer

from turnwise.cli.version_completion import complete_version, complete_versioned_model

# Nothing else is imported at module level, so that `--help` is fast.

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Name of a model with versions.", autocompletion=complete_versioned_model),
]
Version = Annotated[
    str,
    typer.Argument(
        metavar="MODEL@N", help="A version: MODEL@3, MODEL@stable or MODEL@latest.", autocompletion=complete_version
    ),
]


def versions(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Default: all models.", autocompletion=complete_versioned_model),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the versions of models: state, parent, evaluation, and the reason of the last change.

    **Examples**

    ```
    turnwise models versions
    turnwise models versions turnwise-assistant --json
    ```
    """
    from turnwise.app.model_versions.version_description import summarize
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.cli.version_output import print_json, print_versions

    with open_version_library() as library:
        models = library.registry.models() if model is None else [library.versioned_model(model)]
        last_events = {(event.model, event.version): event for event in library.registry.events()}
        summaries = [
            summarize(version, last_events[name, version.number])
            for name in models
            for version in library.registry.list(name)
        ]
    if as_json:
        print_json(summaries)
    elif summaries:
        print_versions(summaries)
    else:
        typer.echo("No model has versions yet. Add one: turnwise models add MODEL RUN --reason TEXT", err=True)


def history(
    model: Model,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Show the version that served at this time: ISO 8601, UTC if it has no time zone, or Unix seconds.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List all changes of the versions of a model, or show the version that served at a time.

    **Examples**

    ```
    turnwise models history turnwise-assistant
    turnwise models history turnwise-assistant --at 2026-11-30T12:00
    ```
    """
    from turnwise.app.model_versions.version_description import describe_event, summarize
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.cli.version_output import print_history, print_json, print_versions

    moment = None if at is None else _parse_time(at)
    with open_version_library() as library:
        name = library.versioned_model(model)
        events = library.registry.events(name)
        version = None if moment is None else library.registry.serving_at(name, moment)
    if moment is None:
        descriptions = [describe_event(event) for event in events]
        print_json(descriptions) if as_json else print_history(descriptions)
    elif version is None:
        print_json(None) if as_json else typer.echo(f"No version of {name} served at {at}.")
    else:
        last_event = next(event for event in reversed(events) if event.version == version.number)
        summary = summarize(version, last_event)
        print_json(summary) if as_json else print_versions([summary])


def diff(first: Version, second: Version, as_json: Json = False) -> None:
    """Compare two versions: settings of the recipes, training files and figures.

    **Examples**

    ```
    turnwise models diff turnwise-assistant@2 turnwise-assistant@latest
    turnwise models diff turnwise-assistant@2 turnwise-assistant@5 --json
    ```
    """
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.app.model_versions.version_reference import required_reference
    from turnwise.cli.version_output import print_differences, print_json
    from turnwise.core.version_comparison import compare_versions

    with open_version_library() as library:
        sides = [library.get(required_reference(reference)) for reference in (first, second)]
    differences = compare_versions(*sides)
    if as_json:
        print_json(differences)
    else:
        print_differences(sides[0].reference, sides[1].reference, differences)


def _parse_time(text: str) -> float:
    from datetime import UTC, datetime

    from turnwise.core.errors import InvalidParameter

    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidParameter(
            "at", f"--at should be a time such as 2026-11-30T12:00, 2026-11-30 or Unix seconds, not '{text[:60]}'."
        ) from None
