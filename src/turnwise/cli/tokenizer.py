"""`turnwise tokenizer`: train a tokenizer, and show the tokens of a text."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnwise.cli.data_flags import SkipBadRows, data_source_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.text.tokenization.encoding import Encoding

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(help="Train a tokenizer, or show how one splits a text.", no_args_is_help=True)

MAX_SAMPLE_TEXTS = 1000  # texts for the average token length in the summary
# Files that `train` writes. A folder with other files is not replaced.
OUTPUT_FILES = frozenset({"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
COLORS = (typer.colors.BLUE, typer.colors.GREEN, typer.colors.MAGENTA, typer.colors.YELLOW)


@app.command()
@data_source_flags
def train(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES", help="Data files or folders, in any format that `turnwise train` accepts."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for tokenizer.json and the chat template.")],
    vocab_size: Annotated[int, typer.Option(help="Maximum vocabulary size, with bytes and special tokens.")] = 8192,
    min_frequency: Annotated[
        int, typer.Option(help="Merge only token pairs that occur at least this often.", min=1)
    ] = 2,
    skip_bad_rows: SkipBadRows = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a tokenizer in OUT.")] = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Train a byte-level BPE tokenizer on the texts of the messages. It can encode any text in any script.

    Also reads the sentences of CoNLL files.

    **Examples**

    ```
    turnwise tokenizer train chats.jsonl --out my-tokenizer
    turnwise tokenizer train chats.csv notes.txt --out my-tokenizer --vocab-size 16384 --skip-bad-rows
    ```
    """
    from turnwise.core.errors import InvalidData, InvalidParameter, UserError
    from turnwise.core.files import atomic_directory
    from turnwise.text.tokenization.bpe_training import train_bpe

    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder. Choose another --out.")
    if out.exists() and {path.name for path in out.iterdir()} - OUTPUT_FILES:
        raise UserError(f"{out} has files that do not belong to a tokenizer. Choose another --out.")
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise InvalidParameter("out", f"{out} holds a tokenizer already. Choose another --out, or pass --overwrite.")
    count = 0
    sample: list[str] = []

    def texts() -> Iterator[str]:
        nonlocal count
        for file in files:
            for text in _texts(file, data_options, skip_bad_rows=skip_bad_rows):
                count += 1
                if len(sample) < MAX_SAMPLE_TEXTS:
                    sample.append(text)
                yield text

    tokenizer = train_bpe(_with_text_counter(texts()), vocab_size=vocab_size, min_frequency=min_frequency)
    if not count:
        raise InvalidData(f"There is no text in {', '.join(map(str, files))}.")
    with atomic_directory(out) as folder:
        tokenizer.save(folder)
    num_tokens = sum(len(tokenizer.encode(text)) for text in sample)
    typer.echo(f"{out}: vocabulary of {tokenizer.vocab_size:,} tokens, trained on {count:,} texts")
    typer.echo(f"Average token length: {sum(map(len, sample)) / max(num_tokens, 1):.2f} characters.")
    if tokenizer.vocab_size < vocab_size:
        typer.echo(
            f"The vocabulary is smaller than {vocab_size:,}: no further pair of tokens reaches --min-frequency.",
            err=True,
        )


@app.command()
def show(
    folder: Annotated[str, typer.Argument(metavar="MODEL", help="Model name, or folder of a model or tokenizer.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text to tokenize.")],
    allow_special: Annotated[
        bool,
        typer.Option(
            "--allow-special",
            help="Encode special tokens written in TEXT as special tokens. By default they are plain text, as in "
            "messages.",
        ),
    ] = False,
) -> None:
    """Show the tokens of a text and their ids.

    · marks a token that continues the character of the token before it.

    **Examples**

    ```
    turnwise tokenizer show my-tokenizer 'Hello, how are you?'
    turnwise tokenizer show runs/my-model '<|user|>Hi<|end|>' --allow-special
    ```
    """
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.models.model_kind import full_model_folder
    from turnwise.text.tokenization.tokenizer import Tokenizer

    model_folder = resolve_model_folder(folder)
    tokenizer = Tokenizer.load(model_folder, full_model_folder(model_folder))
    encoding = tokenizer.encode_with_offsets(text, allow_special=allow_special)
    pieces = list(_pieces(text, encoding))
    typer.echo("".join(typer.style(piece, bg=COLORS[i % len(COLORS)]) for i, piece in enumerate(pieces)))
    width = len(str(tokenizer.vocab_size))
    for i, (id, piece) in enumerate(zip(encoding.ids, pieces, strict=True)):
        typer.echo(f"{id:>{width}}  {typer.style(piece, fg=COLORS[i % len(COLORS)])}")
    typer.echo(f"{len(pieces):,} tokens, {len(text):,} characters")


def _texts(file: Path, data_options: "ReadOptions", *, skip_bad_rows: bool) -> Iterator[str]:
    """Message contents and documents of a data file, without a chat template; sentences of CoNLL columns."""
    from turnwise.core.messages import Conversation
    from turnwise.data.annotations.annotated import TaggedSentence
    from turnwise.data.annotations.source import AnnotationSource
    from turnwise.data.compression import strip_compression_suffix
    from turnwise.data.data_files import CONLL_SUFFIXES
    from turnwise.data.sources import read_source

    if strip_compression_suffix(file.name.lower()).endswith(CONLL_SUFFIXES):
        source = AnnotationSource(file, encoding=data_options.encoding, skip_bad_rows=skip_bad_rows)
        yield from (" ".join(item.tokens) for item in source.read() if isinstance(item, TaggedSentence))
        return
    for item in read_source(file, options=data_options, skip_bad_rows=skip_bad_rows):
        if isinstance(item, Conversation):
            yield from (message.content for message in item.messages)
        else:
            yield item.text


def _with_text_counter(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts and show their number on the terminal."""
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
    """The characters of each token. If several tokens encode one character, the first shows it and the others a dot."""
    shown = 0  # end of the characters shown so far
    for start, end in encoding.offsets:
        yield text[max(start, shown) : end].replace("\n", "⏎").replace("\t", "⇥") or "·"
        shown = max(shown, end)
