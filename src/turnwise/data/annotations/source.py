"""Files of annotated texts: CoNLL columns, CSV, JSON and Parquet, possibly compressed.

::

    source = AnnotationSource("reviews.csv")
    texts = source.read()               # raises InvalidData at the first bad row
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from turnwise.core.errors import InvalidData
from turnwise.core.tag_schemes import OUTSIDE, Scheme, detect_scheme, split_tag, to_iob2
from turnwise.data import containers
from turnwise.data.annotations import conll, rows
from turnwise.data.annotations.annotated import Annotated, AnnotationKind, LabeledText, TaggedSentence
from turnwise.data.compression import DamagedFile, open_decompressed
from turnwise.data.data_files import CONLL_SUFFIXES
from turnwise.data.lines import take_sample
from turnwise.data.rows import BadRow, RowError, UnreadableFile
from turnwise.data.sources import RejectedRow, RowLocation
from turnwise.data.text_encoding import transcode_to_utf8


@dataclass
class AnnotationSource:
    """A file of annotated texts.

    Attributes:
        path: the file.
        columns: names of columns by meaning, for tables ("text", "label", "tokens", "tags", "spans").
        conll_columns: positions of token and tag, for CoNLL columns. Default: "tokens" and "tags" of `columns`, if they
            are numbers, else those of `ConllReader`.
        encoding: text encoding; default UTF-8, or what a byte order mark says.
        annotation_kind: read labels or tags, if rows may have both.
        skip_bad_rows: skip bad rows and record them in `bad_rows`; otherwise the first one raises.
        bad_rows: bad rows of the last reading.
        scheme: the scheme that the tags of the last reading had before they were converted to IOB2; None for texts.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    conll_columns: conll.ConllColumns | None = None
    encoding: str | None = None
    annotation_kind: AnnotationKind | None = None
    skip_bad_rows: bool = False
    bad_rows: list[RejectedRow] = field(default_factory=list, init=False)
    scheme: Scheme | None = field(default=None, init=False)

    def read(self) -> list[LabeledText] | list[TaggedSentence]:
        """Read all texts. Errors as for `rows`."""
        items = [item for _, item in self.rows()]
        texts = [item for item in items if isinstance(item, LabeledText)]
        return texts or [item for item in items if isinstance(item, TaggedSentence)]

    def rows(self) -> list[tuple[RowLocation, LabeledText]] | list[tuple[RowLocation, TaggedSentence]]:
        """Read all texts, each with its location. Tags are converted to IOB2.

        Raises:
            InvalidData: the file does not exist or holds no annotated texts, a row is bad and `skip_bad_rows` is not
                set, or texts with labels and sentences with tags are mixed.
        """
        self.bad_rows = []
        try:
            with self.path.open("rb") as raw:
                items = list(self._items(raw))
        except UnreadableFile as error:
            raise InvalidData(f"{self.path}: {error}") from error
        except OSError as error:
            raise InvalidData(f"Could not read {self.path}: {error.strerror or error}.") from error
        texts = [(location, item) for location, item in items if isinstance(item, LabeledText)]
        sentences = [(location, item) for location, item in items if isinstance(item, TaggedSentence)]
        if texts and sentences:
            location = next(location for location, item in items if type(item) is not type(items[0][1]))
            raise InvalidData(f"{location}: it has tags and the rows before it labels, or the reverse.")
        if not items:
            raise InvalidData(f"{self.path} holds no annotated texts. Expected {rows.EXPECTED}.")
        return texts or self._convert(sentences)

    def _convert(self, sentences: list[tuple[RowLocation, TaggedSentence]]) -> list[tuple[RowLocation, TaggedSentence]]:
        self.scheme = detect_scheme(sentence.tags for _, sentence in sentences)
        if self.scheme == "mixed":
            self._reject_plain_tags(sentences)
        if self.scheme in ("IOB2", "plain"):
            return sentences
        return [(location, replace(item, tags=to_iob2(item.tags))) for location, item in sentences]

    def _reject_plain_tags(self, sentences: list[tuple[RowLocation, TaggedSentence]]) -> None:
        """Raise `InvalidData` for the first tag without a prefix, among tags with one."""
        for location, sentence in sentences:
            for tag in sentence.tags:
                if tag != OUTSIDE and not split_tag(tag)[0]:
                    raise InvalidData(
                        f"{location}: the tag '{tag}' has no prefix such as B- or I-, and other tags of the file have."
                    )

    def _items(self, raw: BinaryIO) -> Iterator[tuple[RowLocation, Annotated]]:
        number = 0
        try:
            file, name = open_decompressed(raw, self.path.name)
            file = transcode_to_utf8(file, self.encoding)
            unit, expected, results = self._results(file, name.lower())
            for result in results:
                number = result.line if isinstance(result, BadRow) else result[0]
                location = RowLocation(self.path, number, unit)
                if isinstance(result, BadRow):
                    self._reject(RejectedRow(location, result.reason, expected))
                else:
                    yield location, result[1]
        except DamagedFile as error:
            raise InvalidData(f"{self.path}, after line {number}: the compressed file is damaged ({error}).") from error

    def _results(self, file: BinaryIO, name: str) -> tuple[str, str, Iterator[tuple[int, Annotated] | BadRow]]:
        """What row numbers count, the form of a valid row, and the rows."""
        sample = take_sample(name, file)
        confidence, container = containers.detect_container(sample)
        if name.endswith(CONLL_SUFFIXES) or not confidence:
            reader = conll.ConllReader(self._conll_columns(), is_universal=name.endswith(".conllu"))
            return "line", conll.EXPECTED, iter(reader.read(file))
        return container.unit, rows.EXPECTED, self._table_rows(container.values(file, sample, list))

    def _conll_columns(self) -> conll.ConllColumns | None:
        """Positions of the columns, as given; None for the defaults of the reader."""
        if self.conll_columns is not None:
            return self.conll_columns
        token, tag = (self.columns.get(name, "") for name in ("tokens", "tags"))
        return conll.ConllColumns(int(token), int(tag)) if token.isdigit() and tag.lstrip("-").isdigit() else None

    def _table_rows(self, values: Iterator[tuple[int, object] | BadRow]) -> Iterator[tuple[int, Annotated] | BadRow]:
        for value in values:
            if isinstance(value, BadRow):
                yield value
                continue
            try:
                yield value[0], rows.parse_row(value[1], self.columns, value[0], self.annotation_kind)
            except RowError as error:
                yield BadRow(value[0], str(error))

    def _reject(self, row: RejectedRow) -> None:
        if not self.skip_bad_rows:
            raise InvalidData(f"{row} Use --skip-bad-rows to skip such rows.")
        self.bad_rows.append(row)
