"""`turnwise scenario tune`: choose the threshold from which an intent is answered."""

from pathlib import Path
from typing import Annotated

import typer


def tune(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="Name of a scenario, or its folder.")],
    messages: Annotated[
        Path | None,
        typer.Option(
            help='JSON lines such as {"text": "where is my parcel", "intent": "order_status"}; null for none of the '
            "intents. Default: the scenario's examples, held out in turn."
        ),
    ] = None,
    max_wrong: Annotated[
        float, typer.Option(help="Maximum share of all messages that are answered wrongly.", min=0.0, max=1.0)
    ] = 0.03,
    embedding_model: Annotated[
        str | None,
        typer.Option(
            help="Embedding model that the server will use (`serve --embedding-model`). Default: words and characters."
        ),
    ] = None,
) -> None:
    """Choose the threshold of intents and store it as `tuned.json` in the scenario's folder.

    Prints the accuracy, the expected calibration error and the shares of messages that are answered, and answered
    wrongly. A change of the intents or of the embedding model makes the file invalid.

    **Examples**

    ```
    turnwise scenario tune my_shop
    turnwise scenario tune my_shop --messages labelled.jsonl --max-wrong 0.02 --embedding-model e5-small
    ```
    """
    import asyncio

    from turnwise.app.embedding_services import open_embedding_service
    from turnwise.app.scenario_folders import find_scenario
    from turnwise.app.scenario_tuning import read_labelled_messages, tune_scenario
    from turnwise.chat.service_path.text_encoders import EmbeddingEncoder, LexicalEncoder

    definition = find_scenario(scenario)
    labelled = [] if messages is None else read_labelled_messages(messages, definition)
    encoder = LexicalEncoder() if embedding_model is None else EmbeddingEncoder(open_embedding_service(embedding_model))
    report = asyncio.run(tune_scenario(definition, encoder, labelled, max_wrong))
    kind = "examples, held out in turn" if report.is_cross_validated else "labelled messages"
    typer.echo(f"{report.num_messages:,} {kind}")
    typer.echo(f"accuracy of messages with an intent   {report.accuracy:.1%}")
    typer.echo(f"expected calibration error            {report.calibration_error:.3f}")
    typer.echo(f"threshold                             {report.tuned.threshold:.3f}")
    typer.echo(f"answered                              {report.tuned.answered:.1%}")
    typer.echo(f"answered wrongly                      {report.tuned.wrong:.1%}  (at most {max_wrong:.1%})")
    typer.echo(f"written to {report.path}")
