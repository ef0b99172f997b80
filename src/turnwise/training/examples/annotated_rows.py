"""The annotated texts of a recipe's source, with the interface of `DataSource`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from turnwise.data.annotations.annotated import (
    Annotated,
    AnnotationKind,
    TaggedSentence,
    group_sentences,
    join_sentences,
    with_context,
)
from turnwise.data.annotations.source import AnnotationSource
from turnwise.data.data_files import list_data_files, list_split_files
from turnwise.data.sources import RejectedRow, RowLocation
from turnwise.training.recipe_sections import SourceConfig


class AnnotatedRows:
    """Texts with labels or tags in a file, or in all data files of a folder.

    Args:
        source: path, split, encoding and columns.
        annotation_kind: read labels or tags, if rows have both.
        skip_bad_rows: skip bad rows; `bad_rows` records them. Otherwise the first one raises `InvalidData`.
        context_words: words of the document that sentences get as context.
        window_words: neighbouring sentences of a document are joined up to this number of words; 0: none are.

    Raises `InvalidData` if the file or the split does not exist.
    """

    def __init__(
        self,
        source: SourceConfig,
        annotation_kind: AnnotationKind | None = None,
        *,
        skip_bad_rows: bool = False,
        context_words: int = 0,
        window_words: int = 0,
    ) -> None:
        path = Path(source.path).expanduser()
        self.files = list_data_files(path) if source.split is None else list_split_files(path, source.split)
        self.bad_rows: list[RejectedRow] = []
        self.unread_columns: Counter[str] = Counter()
        self._source, self._annotation_kind = source, annotation_kind
        self._skip_bad_rows, self._context_words, self._window_words = skip_bad_rows, context_words, window_words

    @property
    def bad_row_count(self) -> int:
        """Number of bad rows of the last pass."""
        return len(self.bad_rows)

    def rows(self) -> Iterator[tuple[RowLocation, Annotated]]:
        """Yield every text with its location."""
        self.bad_rows = []
        num_documents = 0
        for file in self.files:
            reader = AnnotationSource(
                file, columns=self._source.columns, encoding=self._source.encoding,
                annotation_kind=self._annotation_kind, skip_bad_rows=self._skip_bad_rows,
            )  # fmt: skip
            rows = reader.rows()
            self.bad_rows += reader.bad_rows
            sentences = [item for _, item in rows if isinstance(item, TaggedSentence)]
            if num_documents and sentences:  # documents of another file are others
                sentences = [replace(item, document=num_documents + item.document) for item in sentences]
                rows = [(location, item) for (location, _), item in zip(rows, sentences, strict=True)]
            num_documents = max((item.document + 1 for item in sentences), default=num_documents)
            if self._context_words and sentences:
                sentences = with_context(sentences, self._context_words)
                yield from ((location, sentence) for (location, _), sentence in zip(rows, sentences, strict=True))
            elif self._window_words and sentences:
                index = 0
                for group in group_sentences(sentences, self._window_words):
                    yield rows[index][0], join_sentences(group)
                    index += len(group)
            else:
                yield from rows
