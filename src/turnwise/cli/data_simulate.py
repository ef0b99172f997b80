"""`turnwise data talk`: dialogues made by models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.console_output import with_progress
from turnwise.cli.shared_flags import sampling_flags

if TYPE_CHECKING:
    from turnwise.core.chat_service import ChatService

# Nothing else is imported up here: the help must answer at once.


@sampling_flags
def simulate(
    model: Annotated[str, typer.Argument(help="Model of the assistant: a folder, or 'box' (the bundled model).")],
    scenes: Annotated[Path, typer.Option(help="Scenarios in YAML: system prompts of both sides and first messages.")],
    count: Annotated[int, typer.Option(help="Number of dialogues.", min=1)],
    out: Annotated[Path, typer.Option(help="Output file, one dialogue per line as OpenAI messages.")],
    user: Annotated[str | None, typer.Option(help="Model that plays the user. Default: the same model.")] = None,
    turns: Annotated[
        str, typer.Option(help="Minimum and maximum number of exchanges; drawn for each dialogue.")
    ] = "2:6",
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same dialogues.")] = 0,
    slots: Annotated[int, typer.Option(help="Maximum number of dialogues at the same time.", min=1)] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT when the new file is complete.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Discard an unfinished run.")] = False,
    *,
    sampling: dict[str, Any],
) -> None:
    """Generate dialogues: one model plays the user, the other one answers.

    After Ctrl-C the same command continues.

    **Examples**

    ```
    turnwise data talk box --scenes examples/scenes.yaml --count 200 --seed 1 --out made.jsonl
    turnwise data talk runs/mine --user runs/customer --scenes scenes.yaml --count 50 --turns 1:4 --out made.jsonl
    ```
    """
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.parameters import GenerationParams
    from turnwise.synthesis.ordered_tasks import iterate_sync
    from turnwise.synthesis.progress_journal import ProgressJournal, finish, journal_path
    from turnwise.synthesis.scenario_file import load_scenarios
    from turnwise.synthesis.self_chat import SelfChat

    GenerationParams.resolve(sampling)
    exchanges, known = _parse_range(turns), load_scenarios(scenes)
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    with _open_services(model, user, slots) as (assistant, other):
        chat = SelfChat(assistant, other, known, exchanges, seed, sampling)
        work = ProgressJournal(journal_path(out), chat.request, restart=restart)
        left = range(work.done, count)
        if work.done and left:
            typer.echo(f"Going on after {work.done:,} dialogues.", err=True)
        try:
            for made in with_progress(iterate_sync(chat.simulate_all(left, slots)), "Talking", len(left)):
                work.add(made)
        except KeyboardInterrupt:
            typer.echo(f"\nStopped: {work.done:,} dialogues are kept, and the same command goes on.", err=True)
            raise
        finally:
            work.close()
    typer.echo(finish(work, out, count))


def register(app: typer.Typer) -> None:
    """Add the command to `turnwise data`."""
    app.command("talk")(simulate)


def _parse_range(turns: str) -> tuple[int, int]:
    from turnwise.core.errors import InvalidParameter

    fewest, _, most = turns.partition(":")
    try:
        return int(fewest), int(most or fewest)
    except ValueError:
        raise InvalidParameter("turns", f"'turns' must be FEWEST:MOST, as in 2:6, got '{turns}'.") from None


@contextmanager
def _open_services(model: str, user: str | None, slots: int) -> "Iterator[tuple[ChatService, ChatService]]":
    from turnwise.app.chat_services import open_chat_service
    from turnwise.app.model_names import resolve_model_folder

    with open_chat_service(model, max_num_seqs=slots) as assistant:
        if user is None or resolve_model_folder(user).resolve() == resolve_model_folder(model).resolve():
            yield assistant, assistant
            return
        with open_chat_service(user, max_num_seqs=slots) as other:
            yield assistant, other
