"""`turnwise scenario test`: run the test conversations of scenarios on the service path."""

from typing import Annotated

import typer

from turnwise.cli.scenario_completion import complete_scenario
from turnwise.cli.scenario_output import outcome_rows, print_decisions, print_failures, print_json, print_rates
from turnwise.cli.shared_flags import Quantize, Threads

# Nothing heavy is imported at module level, so that `--help` is fast.


def run_tests(
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO",
            help="Name of a scenario, or its folder; `all`: every scenario.",
            autocompletion=complete_scenario,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Model name or folder. Default: the scenario's adapter, else as in chat."),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Answers per conversation; pass^k needs all of them to pass.", min=1, max=100)
    ] = 1,
    language: Annotated[str | None, typer.Option(help="Only the tests in this language.")] = None,
    decision: Annotated[
        str | None, typer.Option(help="Only the tests that expect this kind of decision, such as safety.")
    ] = None,
    embedding_model: Annotated[
        str | None,
        typer.Option(help="Embedding model that recognises intents, as in `serve`. Default: words and characters."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first answer.")] = 0,
    failures: Annotated[bool, typer.Option(help="Print the answers that fail.")] = True,
    quantize: Quantize = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the test conversations of a scenario as the server answers them, and print pass^1 and pass^k.

    pass^k is the probability that k answers to a conversation all pass. Intervals have a level of 95 %. The figure
    counts which decision was taken where which one is expected.

    **Examples**

    ```
    turnwise scenario test customer_service smollm2
    turnwise scenario test all smollm2 --trials 8 --embedding-model e5-small
    turnwise scenario test health_information smollm2 --decision safety --json
    ```
    """
    from rich.console import Console

    from turnwise.app.embedding_services import open_embedding_service
    from turnwise.app.scenario_folders import find_scenarios
    from turnwise.app.scenario_tests import decision_kind, run_scenario_tests
    from turnwise.app.service_path_answers import open_service_path_answers
    from turnwise.cli.console_output import warn_fallback_model
    from turnwise.cli.progress_bars import progress_bar
    from turnwise.core.errors import InvalidParameter

    selected = []
    for definition in find_scenarios(scenario):
        tests = [
            test
            for test in definition.tests
            if language in (None, test.language) and decision in (None, decision_kind(test.decisions[0]))
        ]
        if tests:
            selected.append((definition, tests))
    if not selected:
        raise InvalidParameter("scenario", f"The scenario '{scenario}' has no such tests.")
    if model is None and any(definition.settings.adapter is None for definition, _ in selected):
        warn_fallback_model(model)
    embeddings = None if embedding_model is None else open_embedding_service(embedding_model, threads=threads)
    total, done = trials * sum(len(tests) for _, tests in selected), 0
    outcomes = {}
    with progress_bar(Console(stderr=True), "answers") as on_progress:

        def on_done(count: int) -> None:
            nonlocal done
            done += count
            on_progress(done, total)

        for definition, tests in selected:
            with open_service_path_answers(
                definition, model, embeddings=embeddings, quantize=quantize, threads=threads
            ) as answer:
                outcomes[definition.name] = run_scenario_tests(tests, answer, trials, on_done, seed)
    if as_json:
        print_json([{"scenario": name, **outcome_rows(results, trials)} for name, results in outcomes.items()])
        return
    if failures:
        for results in outcomes.values():
            print_failures(results)
    print_rates(outcomes, trials)
    print_decisions([outcome for results in outcomes.values() for outcome in results])
