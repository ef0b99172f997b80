"""`turnwise evaluate`: perplexity and response selection on held-out dialogues."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str | None, typer.Argument(help="A model folder in the Hugging Face layout; left out: the model in the box.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Held-out dialogues.")] = Path("test.jsonl"),
    limit: Annotated[int, typer.Option(help="Most dialogues to look at.", min=1)] = 300,
    candidates: Annotated[int, typer.Option(help="Replies to choose among in response selection.", min=2)] = 20,
    seed: Annotated[int, typer.Option(help="Of the distractors.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave malformed rows out.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a model on held-out dialogues: perplexity per token and byte, and R@1 among 20 replies.

    **Examples**

    ```
    turnwise evaluate --data test.jsonl
    turnwise evaluate runs/mine --data test.jsonl --json
    ```
    """
    import json
    from itertools import islice

    import torch
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress
    from rich.table import Table

    from turnwise.assemble import model_folder
    from turnwise.core.errors import InvalidData
    from turnwise.core.messages import Conversation
    from turnwise.data.sources import Source
    from turnwise.evaluation.perplexity import measure_perplexity
    from turnwise.evaluation.selection import measure_selection, questions
    from turnwise.models import checkpoint
    from turnwise.text.render import Renderer
    from turnwise.text.tokenizer import Tokenizer

    folder = model_folder(model)
    renderer = Renderer.of(Tokenizer.load(folder))
    source = Source(data, skip_bad=skip_bad)
    dialogues = list(islice((item for item in source if isinstance(item, Conversation)), limit))
    console = Console(stderr=True, highlight=False)
    if source.bad_count:
        console.print(f"{source.bad_count:,} bad rows left out")
    decoder = checkpoint.load(folder, device="cuda" if torch.cuda.is_available() else "cpu").decoder
    found: dict[str, float | int | str] = {"model": str(model or "box"), "data": str(data), "dialogues": len(dialogues)}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("perplexity", total=len(dialogues))
        surprise = measure_perplexity(decoder, renderer, dialogues, lambda n: progress.update(task, completed=n))
        found |= {
            "perplexity_per_token": surprise.per_token,
            "perplexity_per_byte": surprise.per_byte,
            "bits_per_byte": surprise.bits_per_byte,
            "tokens": surprise.tokens,
            "bytes": surprise.bytes,
        }
        try:
            asked = questions(dialogues, candidates=candidates, seed=seed)
        except InvalidData as error:
            console.print(str(error), style="yellow", markup=False)
        else:
            task = progress.add_task("response selection", total=len(asked))
            chosen = measure_selection(decoder, renderer, asked, lambda n: progress.update(task, completed=n))
            found |= {f"recall_at_1_of_{candidates}": chosen.recall_at_1, "questions": chosen.asked}
    if json_out:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("measure", "value", title=escape(f"{found['model']} on {data}"))
    for name, value in found.items():
        if name not in ("model", "data"):
            table.add_row(name.replace("_", " "), f"{value:,.4f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
