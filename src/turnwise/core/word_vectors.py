"""Reads pretrained word vectors from text files: a word and its values per line (GloVe, word2vec, fastText)."""

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import UserError

MAX_WORDS = 100_000  # such files list frequent words first
MAX_VECTOR_SIZE = 1024


@dataclass(frozen=True)
class WordVectors:
    """Word vectors.

    Attributes:
        words: the words; the vector of the first is row 1 of the table.
        table_VD: the vectors, `(V, D)` float32; row 0, for words without a vector, is zero.
    """

    words: tuple[str, ...]
    table_VD: NDArray[np.float32]

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each word."""
        return number_rows(self.words)


def number_rows(words: Iterable[str]) -> dict[str, int]:
    """The row of each word in a table whose row 0 belongs to no word."""
    return {word: row for row, word in enumerate(words, 1)}


def read_word_vectors(path: str) -> WordVectors:
    """Read the first `MAX_WORDS` vectors of a text file, which may be compressed (`.gz`).

    Raises:
        UserError: the file cannot be read, or a line has another number of values than the first.
    """
    file = Path(path).expanduser()
    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"The word vectors in {path} cannot be read: {error}") from error
    return _read(path, file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read(path: str, file: Path, *_: int) -> WordVectors:
    """Read a file; cached by path, modification time and size."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            return _parse(lines, path)
    except (OSError, EOFError) as error:
        raise UserError(f"The word vectors in {path} cannot be read: {error}") from error
    except ValueError as error:  # also of the text decoder
        raise UserError(f"{path} holds no word vectors, or is damaged: {error}") from error


def _parse(lines: Iterable[str], path: str) -> WordVectors:
    vectors: dict[str, NDArray[np.float32]] = {}
    size = 0
    for number, line in enumerate(lines, 1):
        # Words of some files hold spaces, so values are counted from the end of the line.
        word, *values = line.rstrip().rsplit(" ", size or -1)
        if number == 1 and len(values) == 1:
            continue  # word2vec files begin with the number of words and the size
        size = size or len(values)
        try:
            vector = np.array(values, dtype=np.float32)
        except ValueError:
            vector = np.full(len(values), np.nan, dtype=np.float32)
        if not 0 < len(vector) <= MAX_VECTOR_SIZE or len(vector) != size or not np.isfinite(vector).all():
            raise ValueError(f"line {number} has {len(vector)} values, or one that is no number")
        vectors.setdefault(word, vector)
        if len(vectors) == MAX_WORDS:
            break
    if not vectors:
        raise UserError(f"{path} holds no word vectors.")
    rows = list(vectors.values())
    return WordVectors(tuple(vectors), np.stack([np.zeros_like(rows[0]), *rows]))
