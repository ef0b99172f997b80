"""`turnwise models add`, `promote`, `rollback`, `retire`, `export`, `rebuild` and `prune`: what changes versions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnwise.cli.console_output import Overwrite
from turnwise.cli.export import GgufTypeName
from turnwise.cli.model_versions import Json, Model, Version

if TYPE_CHECKING:
    from turnwise.core.model_versions import ModelVersion, VersionState

# Nothing else is imported at module level, so that `--help` is fast.

Reason = Annotated[str, typer.Option(help="Why, as a sentence; the history shows it.")]


def add(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name that the model is served by, such as turnwise-assistant.")
    ],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `turnwise train` wrote.")],
    reason: Reason,
    move: Annotated[bool, typer.Option("--move", help="Delete RUN afterwards.")] = False,
) -> None:
    """Add a trained model as a version, with copies of its training data. It gets no requests until it is promoted.

    Only the first version of a name that is neither bundled nor pulled serves at once.

    **Examples**

    ```
    turnwise models add turnwise-assistant runs/mine --reason "Trained on the corrections of November."
    turnwise models add turnwise-assistant runs/mine --reason "A higher learning rate." --move
    ```
    """
    from turnwise.app.model_versions.add_version import add_run
    from turnwise.app.model_versions.version_library import open_version_library

    with open_version_library() as library:
        added = add_run(library, model, run, reason=reason, move=move)
    version = added.version
    for path in added.missing_data:
        typer.echo(f"Note: {path} of its recipe does not exist, so {version.reference} cannot be rebuilt.", err=True)
    state = "serves, because it is the first version" if version.state == "serving" else "is a candidate"
    typer.echo(f"{version.reference} {state}. Chat with it: turnwise chat {version.reference}", err=True)


def promote(
    version: Version,
    reason: Reason,
    canary: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Let it answer a share of the conversations only: 10% or 0.1.")
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Let it answer a copy of the requests; nobody sees its answers.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote a version that has not passed the gate. The history states it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a version serve, in place of the one before, which is retired. Its weights are verified first.

    **Examples**

    ```
    turnwise models promote turnwise-assistant@3 --canary 10% --reason "Better in the evaluation."
    turnwise models promote turnwise-assistant@3 --reason "No complaints during the canary."
    ```
    """
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.app.model_versions.version_reference import required_reference
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.version_rules import FORCED, needs_force

    if shadow and canary is not None:
        raise InvalidParameter("canary", "--canary and --shadow cannot be used together.")
    share = 0.0 if canary is None else _parse_share(canary)
    with open_version_library() as library:
        stored = library.get(required_reference(version))
        state: VersionState = "shadow" if shadow else "serving" if canary is None else "canary"
        if needs_force(stored, state, library.registry.events(stored.content.model)):
            if not force:
                problem = "failed the gate" if stored.content.scorecard else "was not evaluated by the gate"
                raise InvalidParameter("force", f"{stored.reference} {problem}. Pass --force to promote it anyway.")
            reason += FORCED
        changed = library.change_state(stored, state, actor="person", reason=reason, share=share)
    _print_state(changed, as_json=as_json)


def rollback(model: Model, reason: Reason = "A person rolled back.", as_json: Json = False) -> None:
    """Let the version serve again that served before the present one. Twice goes back further.

    **Examples**

    ```
    turnwise models rollback turnwise-assistant
    turnwise models rollback turnwise-assistant --reason "It answers in the wrong language."
    ```
    """
    from turnwise.app.model_versions.version_library import open_version_library

    with open_version_library() as library:
        changed = library.roll_back(library.versioned_model(model), actor="person", reason=reason)
    _print_state(changed, as_json=as_json)


def retire(version: Version, reason: Reason, as_json: Json = False) -> None:
    """Take a version out of use: end a canary or a shadow, or reject a candidate. Its folder stays.

    **Examples**

    ```
    turnwise models retire turnwise-assistant@3 --reason "Many answers were disliked."
    ```
    """
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.app.model_versions.version_reference import required_reference

    with open_version_library() as library:
        stored = library.get(required_reference(version))
        changed = library.change_state(stored, "retired", actor="person", reason=reason)
    _print_state(changed, as_json=as_json)


def export(
    version: Version,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    gguf: Annotated[
        GgufTypeName | None, typer.Option(help="Write DIR/MODEL-N.TYPE.gguf of this type. Default: a model folder.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a version as a model folder in the Hugging Face layout, or as a GGUF file. An adapter is merged.

    **Examples**

    ```
    turnwise models export turnwise-assistant@stable exports/assistant
    turnwise models export turnwise-assistant@3 exports --gguf q8_0
    ```
    """
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.app.model_versions.version_reference import required_reference
    from turnwise.cli import export as export_commands

    with open_version_library() as library:
        stored = library.get(required_reference(version))
    if gguf is None:
        export_commands.convert(stored.reference, folder, "auto", overwrite=overwrite)
    else:
        file = folder / f"{stored.content.model}-{stored.number}.{gguf}.gguf"
        export_commands.export(stored.reference, file, gguf, overwrite=overwrite)


def rebuild(version: Version, as_json: Json = False) -> None:
    """Train a version again from its recipe and its data, and compare the weights. Nothing is replaced.

    On the same machine, with the same versions of turnwise and torch, the bytes are the same. The exit code is 1 if
    they differ.

    **Example**

    ```
    turnwise models rebuild turnwise-assistant@3
    ```
    """
    from functools import partial

    from rich.console import Console

    from turnwise.app.model_versions.rebuild import rebuild_version
    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.app.model_versions.version_reference import required_reference
    from turnwise.cli.version_output import print_json
    from turnwise.improve.registration import is_built_by_cycle, train_again
    from turnwise.training.loggers import ProgressBarHook

    with open_version_library() as library:
        stored = library.get(required_reference(version))
        typer.echo(f"Training {stored.reference} again …", err=True)
        hooks = [ProgressBarHook(Console(stderr=True))]
        folder = library.own_folder(stored)
        by_cycle = folder is not None and is_built_by_cycle(folder)
        train = partial(train_again, hooks=hooks) if by_cycle else None
        result = rebuild_version(library, stored, hooks=hooks, train=train)
    if as_json:
        print_json(
            {
                "version": stored.reference, "is_identical": result.is_identical,
                "weights_sha256": result.weights_sha256, "expected_sha256": stored.content.weights_sha256,
                "different_files": result.different_files, "environment_changes": result.environment_changes,
            }
        )  # fmt: skip
    elif result.is_identical:
        typer.echo(f"The weights are those of {stored.reference}: {result.weights_sha256}")
    else:
        typer.echo(f"The weights are not those of {stored.reference}.")
    if not as_json:
        for name in result.different_files:
            typer.echo(f"  {name} differs from the file in the folder of the version")
        for change in result.environment_changes:
            typer.echo(f"  {change}")
    if not result.is_identical:
        raise typer.Exit(1)


def prune(
    model: Model,
    keep: Annotated[int, typer.Option(help="Number of retired versions to retain.", min=0)] = 3,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the folders of old retired versions. Their records stay; they cannot serve or be rebuilt afterwards.

    Versions that a roll-back would pass are retained first. Folders that killed processes have left are deleted, too.

    **Examples**

    ```
    turnwise models prune turnwise-assistant
    turnwise models prune turnwise-assistant --keep 10 --yes
    ```
    """
    from turnwise.app.model_versions.prune import (
        delete_unrecorded,
        prunable_model,
        prunable_versions,
        prune_versions,
        unrecorded_folders,
    )
    from turnwise.app.model_versions.version_library import open_version_library

    with open_version_library() as library:
        name = prunable_model(library, model)
        names = [version.reference for version in prunable_versions(library, name, keep)]
        names += map(str, unrecorded_folders(library, name))
        if not names:
            typer.echo(f"{name} has no retired versions to delete beside the {keep} that are retained.", err=True)
            return
        if not yes:
            typer.confirm(f"Delete the weights and data of {', '.join(names)}?", abort=True)
        for version in prune_versions(library, name, keep):
            typer.echo(f"{version.reference} is deleted.", err=True)
        for folder in delete_unrecorded(library, name):
            typer.echo(f"{folder} is deleted.", err=True)


def _parse_share(text: str) -> float:
    from turnwise.core.errors import InvalidParameter

    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise InvalidParameter("canary", f"--canary should be a share such as 10% or 0.1, not '{text[:30]}'.")
    return share


def _print_state(version: "ModelVersion", *, as_json: bool) -> None:
    """Print the state of a version after a change."""
    from turnwise.cli.version_output import print_json

    if as_json:
        print_json({"version": version.reference, "state": version.state, "share": version.share})
        return
    effect = {
        "serving": f"serves now. To go back: turnwise models rollback {version.content.model}",
        "canary": f"answers {version.share:.3g} of the conversations.",
        "shadow": "answers a copy of the requests; nobody sees its answers.",
    }.get(version.state, f"is {version.state}.")
    typer.echo(f"{version.reference} {effect}", err=True)
