"""`turnwise tokenizer`: train a tokenizer and look at what one does."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnwise.cli.data_flags import data_source_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.text.tokenization.encoding import Encoding

# Nothing else is imported up here: the help must answer at once.

app = typer.Typer(help="Train a tokenizer, or show how one splits a text.", no_args_is_help=True)

MAX_SAMPLE_TEXTS = 1000  # texts on which the summary measures
# What `train` writes, and so what it may replace.
OUTPUT_FILES = frozenset({"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
COLORS = (typer.colors.BLUE, typer.colors.GREEN, typer.colors.MAGENTA, typer.colors.YELLOW)


@app.command(
    epilog="Examples: turnwise tokenizer train chats.jsonl --out my-tokenizer   |   "
    "turnwise tokenizer train chats.csv notes.txt --out my-tokenizer --vocab-size 16384 --skip-bad-rows"
)
@data_source_flags
def train(
    files: Annotated[list[Path], typer.Argument(help="Data files or folders, in any format that training reads.")],
    out: Annotated[Path, typer.Option(help="Folder for tokenizer.json and the chat template.")],
    vocab_size: Annotated[int, typer.Option(help="Vocabulary size, bytes and special tokens included.")] = 8192,
    min_frequency: Annotated[int, typer.Option(help="Minimum count of a pair of tokens to be merged.", min=1)] = 2,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Skip bad rows instead of stopping at the first one.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a tokenizer in OUT.")] = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Train a byte-level BPE tokenizer on the texts of the messages. It can encode any text in any script."""
    from turnwise.core.errors import InvalidData, InvalidParameter, UserError
    from turnwise.core.files import atomic_directory
    from turnwise.text.tokenization.bpe_training import train_bpe

    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - OUTPUT_FILES):
        raise UserError(f"{out} is there already and holds more than a tokenizer. Name another folder.")
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise InvalidParameter("out", f"{out} holds a tokenizer already. Choose another --out, or pass --overwrite.")
    count = 0
    sample: list[str] = []

    def texts() -> Iterator[str]:
        nonlocal count
        for file in files:
            for text in _texts(file, data_options, skip_bad=skip_bad):
                count += 1
                if len(sample) < MAX_SAMPLE_TEXTS:
                    sample.append(text)
                yield text

    tokenizer = train_bpe(_counted(texts()), vocab_size=vocab_size, min_frequency=min_frequency)
    if not count:
        raise InvalidData(f"There is no text in {', '.join(map(str, files))}.")
    with atomic_directory(out) as folder:
        tokenizer.save(folder)
    ids = sum(len(tokenizer.encode(text)) for text in sample)
    typer.echo(f"{out}: {tokenizer.vocab_size:,} ids, learned from {count:,} texts")
    typer.echo(f"A token is {sum(map(len, sample)) / max(ids, 1):.2f} characters long on average.")
    if tokenizer.vocab_size < vocab_size:
        typer.echo(f"The data has no more to merge than these; {vocab_size:,} ids were asked for.", err=True)


@app.command(
    epilog="Examples: turnwise tokenizer show my-tokenizer 'Hello, how are you?'   |   "
    "turnwise tokenizer show runs/my-model '<|user|>Hi<|end|>' --special"
)
def show(
    folder: Annotated[Path, typer.Argument(help="Model or tokenizer folder.")],
    text: Annotated[str, typer.Argument(help="Text to tokenize.")],
    special: Annotated[
        bool, typer.Option("--special", help="Encode special tokens as such; by default they are text, as in messages.")
    ] = False,
) -> None:
    """Show the tokens of a text and their ids. A dot is a further token of the previous character."""
    from turnwise.text.tokenization.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    encoding = tokenizer.encode_with_offsets(text, allow_special=special)
    pieces = list(_pieces(text, encoding))
    typer.echo("".join(typer.style(piece, bg=COLORS[i % len(COLORS)]) for i, piece in enumerate(pieces)))
    width = len(str(tokenizer.vocab_size))
    for i, (id, piece) in enumerate(zip(encoding.ids, pieces, strict=True)):
        typer.echo(f"{id:>{width}}  {typer.style(piece, fg=COLORS[i % len(COLORS)])}")
    typer.echo(f"{len(pieces):,} tokens, {len(text):,} characters")


def _texts(file: Path, data_options: "ReadOptions", *, skip_bad: bool) -> Iterator[str]:
    """What is said in the data, without anything a template would put around it."""
    from turnwise.core.messages import Conversation
    from turnwise.data.sources import read_source

    for item in read_source(file, options=data_options, skip_bad=skip_bad):
        if isinstance(item, Conversation):
            yield from (message.content for message in item.messages)
        else:
            yield item.text


def _counted(texts: Iterable[str]) -> Iterator[str]:
    """The same texts, with a line on the terminal that says how many there have been."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("Reading texts"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for text in texts:
            yield text
            bar.advance(task)


def _pieces(text: str, encoding: "Encoding") -> Iterator[str]:
    """What each token stands for; where several share a character, the first has it and the others a dot."""
    done = 0
    for start, end in encoding.offsets:
        yield text[max(start, done) : end].replace("\n", "⏎").replace("\t", "⇥") or "·"
        done = max(done, end)
