"""`turnwise data simulate`: dialogues between two models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.console_output import check_output_path, with_progress
from turnwise.cli.shared_flags import sampling_flags

if TYPE_CHECKING:
    from turnwise.core.chat_service import ChatService

# Nothing else is imported at module level, so that `--help` is fast.


@sampling_flags
def simulate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Model of the assistant: a folder, or 'tiny' (the small bundled model)."),
    ],
    scenarios: Annotated[
        Path, typer.Option(help="Scenarios in YAML: system prompts, user personas and first messages.")
    ],
    count: Annotated[int, typer.Option(help="Number of dialogues.", min=1)],
    out: Annotated[Path, typer.Option(help="Output file, one dialogue per line as OpenAI messages.")],
    user: Annotated[str | None, typer.Option(help="Model that plays the user. Default: the same model.")] = None,
    exchanges: Annotated[
        str,
        typer.Option(
            help="Minimum and maximum number of exchanges (a user message and its reply); drawn for each dialogue.",
            metavar="MIN:MAX",
        ),
    ] = "2:6",
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same dialogues.")] = 0,
    concurrency: Annotated[
        int, typer.Option(help="Maximum number of dialogues that run at the same time.", min=1)
    ] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT when the new file is complete.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard an unfinished run instead of resuming it.")
    ] = False,
    *,
    sampling: dict[str, Any],
) -> None:
    """Simulate dialogues: one model plays the user; another one, or the same, plays the assistant.

    A message has at most 256 tokens, unless --max-tokens is set. After Ctrl-C, the same command resumes the run.

    **Examples**

    ```
    turnwise data simulate box --scenarios examples/scenarios.yaml --count 200 --seed 1 --out simulated.jsonl
    turnwise data simulate runs/mine --user runs/customer --scenarios shop.yaml --count 50 --out simulated.jsonl
    ```
    """
    from turnwise.core.ordered_results import iterate_sync
    from turnwise.core.parameters import GenerationParams
    from turnwise.synthesis.progress_journal import ProgressJournal, finish_run, journal_path
    from turnwise.synthesis.scenario_file import load_scenarios
    from turnwise.synthesis.self_chat import SelfChat

    GenerationParams.resolve(sampling)
    exchange_range, scenario_file = _parse_range(exchanges), load_scenarios(scenarios)
    check_output_path(out, overwrite=overwrite)
    with _open_services(model, user, concurrency) as (assistant_service, user_service):
        self_chat = SelfChat(assistant_service, user_service, scenario_file, exchange_range, seed, sampling)
        journal = ProgressJournal(journal_path(out), self_chat.settings, restart=restart)
        remaining = range(journal.num_dialogues, count)
        if journal.num_dialogues and remaining:
            typer.echo(f"Resuming after {journal.num_dialogues:,} dialogues.", err=True)
        try:
            dialogues = iterate_sync(self_chat.simulate_all(remaining, concurrency))
            for dialogue in with_progress(dialogues, "Simulating", len(remaining)):
                journal.add(dialogue)
        except KeyboardInterrupt:
            typer.echo(
                f"\nStopped. {journal.num_dialogues:,} dialogues are saved; run the same command again to resume.",
                err=True,
            )
            raise
        finally:
            journal.close()
    typer.echo(finish_run(journal, out, count))


def register(app: typer.Typer) -> None:
    """Add the command to `turnwise data`."""
    app.command("simulate")(simulate)


def _parse_range(text: str) -> tuple[int, int]:
    from turnwise.core.errors import InvalidParameter

    minimum, _, maximum = text.partition(":")
    try:
        return int(minimum), int(maximum or minimum)
    except ValueError:
        raise InvalidParameter("exchanges", f"'exchanges' must be MIN:MAX, as in 2:6, got '{text}'.") from None


@contextmanager
def _open_services(model: str, user: str | None, concurrency: int) -> "Iterator[tuple[ChatService, ChatService]]":
    """Open the services of the assistant and the user. One service plays both if they are the same model."""
    from turnwise.app.chat_services import open_chat_service
    from turnwise.app.model_names import resolve_model_folder

    with open_chat_service(model, max_num_seqs=concurrency) as assistant_service:
        if user is None or resolve_model_folder(user).resolve() == resolve_model_folder(model).resolve():
            yield assistant_service, assistant_service
            return
        with open_chat_service(user, max_num_seqs=concurrency) as user_service:
            yield assistant_service, user_service
