"""Brings a dense index up to date with the store. One process at a time may do it.

Shapes: N rows, D dimensions.
"""

import os
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import SaveFailed
from turnwise.core.files import atomic_directory, remove_remains
from turnwise.core.knowledge import KnowledgeStore, StorePosition, TextEncoder
from turnwise.retrieval.dense_format import (
    FORMAT_VERSION,
    MEAN_ROWS,
    DenseHeader,
    DenseState,
    quantize_rows,
    read_header,
    sign_bits,
    write_header,
    write_state,
)
from turnwise.retrieval.dense_index import DenseRows, is_in_ranges, open_rows
from turnwise.retrieval.index_cursor import IndexCursor, IndexDamaged
from turnwise.retrieval.index_lock import lock_index
from turnwise.retrieval.rotation import rotate, rotate_back

BATCH_PASSAGES = 256
READ_DELETIONS = 10_000
COPY_ROWS = 65_536
MIN_COMPACTED = 1000  # rows
MAX_DEAD_SHARE = 1 / 3


class DenseWriter:
    """Writes the index in a folder. Not thread-safe. A missing or damaged index is created.

    Args:
        folder: the index.
        encoder: `TextEncoder.fingerprint`.
        dimension: length of the vectors.
    """

    def __init__(self, folder: Path, encoder: str, dimension: int) -> None:
        self._folder = folder
        try:
            rows = open_rows(folder, encoder)
            if rows.header.dimension != dimension:
                raise IndexDamaged(f"The dense index {folder} has vectors of another length.")
        except IndexDamaged:
            header = DenseHeader(encoder, dimension, np.zeros(dimension, np.float32), False, uuid.uuid4().hex)
            self._replace(header, IndexCursor(), [])
        else:
            self._header, self._state = rows.header, rows.state

    @property
    def cursor(self) -> IndexCursor:
        """What the index contains."""
        return self._state.cursor

    def update(self, store: KnowledgeStore, encoder: TextEncoder, max_passages: int = BATCH_PASSAGES) -> int:
        """Apply the deletions, and embed the next batch of passages. Returns their number; 0 if nothing is left.

        Raises:
            SaveFailed: a write failed. Earlier batches are kept.
        """
        position = store.position()
        if not self.cursor.follows(position):
            self._replace(replace(self._header, generation=uuid.uuid4().hex), IndexCursor(), [])
        is_alive_N, last_deletion = self._apply_deletions(store, position)
        passages = store.passages_after(self.cursor.last_passage, max_passages)
        last_passage = passages[-1].id if passages else max(self.cursor.last_passage, position.last_passage)
        cursor = IndexCursor(position.base, last_passage, last_deletion, FORMAT_VERSION)
        self._state = replace(self._state, is_alive_N=is_alive_N)
        if passages:
            self.append(
                np.array([passage.id for passage in passages], np.int64),
                np.array([passage.document.scope_id for passage in passages], np.uint32),
                encoder.embed_passages([passage.index_text for passage in passages]),
                cursor,
            )
        elif cursor != self.cursor:
            self._save(replace(self._state, cursor=cursor))
        num_dead = len(self._state.is_alive_N) - int(np.count_nonzero(self._state.is_alive_N))
        if self._state.num_rows >= MIN_COMPACTED and num_dead > MAX_DEAD_SHARE * self._state.num_rows:
            self.compact()
        return len(passages)

    def _apply_deletions(self, store: KnowledgeStore, position: StorePosition) -> tuple[NDArray[np.bool_], int]:
        """The rows that are alive, shape `(N,)`, and the number of the last deletion."""
        is_alive_N, last_deletion = self._state.is_alive_N, self.cursor.last_deletion
        if self.cursor.has_missed(position):  # the vectors are kept: embedding takes much longer than this comparison
            ranges = [store.matching_ranges(scope.name, {}) for scope in store.scopes()]
            ranges_R2 = np.concatenate([np.empty((0, 2), np.int64), *ranges])
            is_alive_N = is_alive_N & is_in_ranges(self._rows().ids_N, ranges_R2)
            last_deletion = position.last_pruned_deletion
        while deletions := store.deletions_after(last_deletion, READ_DELETIONS):
            ids_N = self._rows().ids_N
            is_alive_N = is_alive_N.copy()
            for deletion in deletions:
                first = deletion.first_passage
                start, end = np.searchsorted(ids_N, [first, first + deletion.num_passages])
                is_alive_N[start:end] = False
            last_deletion = deletions[-1].number
        return is_alive_N, last_deletion

    def drop_deleted(self, store: KnowledgeStore) -> None:
        """Apply the deletions and rewrite the index without the rows of deleted passages. Embeds nothing.

        Raises:
            SaveFailed: a write failed; the old index is unchanged.
        """
        position = store.position()
        if not self.cursor.follows(position):
            self._replace(replace(self._header, generation=uuid.uuid4().hex), IndexCursor(), [])
            return
        is_alive_N, last_deletion = self._apply_deletions(store, position)
        cursor = replace(self.cursor, last_deletion=last_deletion)
        self._state = replace(self._state, is_alive_N=is_alive_N, cursor=cursor)
        self.compact()

    def append(
        self,
        ids_N: NDArray[np.int64],
        scopes_N: NDArray[np.uint32],
        vectors_ND: NDArray[np.float32],
        cursor: IndexCursor,
    ) -> None:
        """Append rows with ids above all earlier ones. They exist once the state is saved, at the end."""
        rows_ND, scales_N = quantize_rows(rotate(vectors_ND - self._header.mean_D))
        self._write(ids_N, scopes_N, rows_ND, scales_N, cursor)
        if not self._header.has_mean and self._state.num_rows >= MEAN_ROWS:
            self.compact()

    def compact(self) -> None:
        """Write the living rows into a new folder that replaces this one. The first time, a mean is subtracted."""
        rows = self._rows()
        alive = np.flatnonzero(self._state.is_alive_N)
        header = replace(self._header, generation=uuid.uuid4().hex)
        if not header.has_mean and len(alive) >= MEAN_ROWS:
            sample_ND = _restore(rows, alive[np.linspace(0, len(alive) - 1, MEAN_ROWS).astype(np.int64)])
            header = replace(header, mean_D=sample_ND.mean(axis=0).astype(np.float32), has_mean=True)
        self._replace(header, self.cursor, [alive[i : i + COPY_ROWS] for i in range(0, len(alive), COPY_ROWS)], rows)

    def _replace(
        self,
        header: DenseHeader,
        cursor: IndexCursor,
        blocks: list[NDArray[np.int64]],
        rows: DenseRows | None = None,
    ) -> None:
        """Write a new index with blocks of the old one's rows, and put it in the place of the old one."""
        folder = self._folder
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_directory(folder) as temporary:
            self._folder, self._header = temporary, header
            self._state = DenseState(header.generation, cursor=cursor)
            try:
                write_header(temporary, header)
                for name in header.file_types:
                    (temporary / name).touch()
                for block in blocks:
                    assert rows is not None
                    arrays = rows.arrays
                    rows_ND, scales_N = arrays["rows.i8"][block], arrays["scales.f32"][block]
                    if header.has_mean != rows.header.has_mean:
                        rows_ND, scales_N = quantize_rows(rotate(_restore(rows, block) - header.mean_D))
                    self._write(arrays["ids.i64"][block], arrays["scopes.u32"][block], rows_ND, scales_N, cursor)
                write_state(temporary, self._state)
            finally:
                self._folder = folder

    def _write(
        self,
        ids_N: NDArray[np.int64],
        scopes_N: NDArray[np.uint32],
        rows_ND: NDArray[np.int8],
        scales_N: NDArray[np.float32],
        cursor: IndexCursor,
    ) -> None:
        words_WN = sign_bits(rows_ND)
        arrays: dict[str, NDArray[Any]] = {f"bits.{number:02d}": words_N for number, words_N in enumerate(words_WN)}
        arrays |= {"ids.i64": ids_N, "scopes.u32": scopes_N, "scales.f32": scales_N, "rows.i8": rows_ND}
        checksums = dict(self._state.checksums)
        try:
            for name, (kind, width) in self._header.file_types.items():
                content = np.ascontiguousarray(arrays[name], kind).tobytes()
                start = self._state.num_rows * width * np.dtype(kind).itemsize
                _write_at(self._folder / name, start, content)
                checksums[name] = zlib.crc32(content, checksums.get(name, 0))
        except OSError as error:
            raise SaveFailed(f"The dense index could not be written: {error.strerror or error}.") from error
        alive_N = np.concatenate([self._state.is_alive_N, np.ones(len(ids_N), np.bool_)])
        self._save(DenseState(self._header.generation, len(alive_N), cursor, checksums, alive_N))

    def _save(self, state: DenseState) -> None:
        write_state(self._folder, state)
        self._state = state

    def _rows(self) -> DenseRows:
        return open_rows(self._folder, self._header.encoder, self._header.generation)


@contextmanager
def dense_writer(folder: Path, encoder: TextEncoder, seconds: float) -> Iterator[DenseWriter]:
    """Lock an index and yield its writer. Raises `Unavailable` if another process has it for longer than `seconds`."""
    with lock_index(folder, seconds, "Another process is embedding the passages."):
        remove_remains(folder)
        yield DenseWriter(folder, encoder.fingerprint, encoder.dimension)


def drop_deleted_rows(folder: Path, store: KnowledgeStore, seconds: float) -> None:
    """Rewrite the index of any encoder without the rows of deleted passages; a damaged one is deleted.

    Raises:
        SaveFailed: a write failed; the old index is unchanged.
        Unavailable: another process has the index for longer than `seconds`.
    """
    with lock_index(folder, seconds, "Another process is embedding the passages."):
        remove_remains(folder)
        try:
            header = read_header(folder)
        except IndexDamaged:
            shutil.rmtree(folder, ignore_errors=True)
            return
        DenseWriter(folder, header.encoder, header.dimension).drop_deleted(store)


def _restore(rows: DenseRows, block: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors of rows, as exactly as the 8-bit integers have them."""
    centred_ND = rows.arrays["rows.i8"][block] * rows.arrays["scales.f32"][block, None]
    vectors_ND: NDArray[np.float32] = rotate_back(centred_ND) + rows.header.mean_D
    return vectors_ND


def _write_at(path: Path, start: int, content: bytes) -> None:
    """Write and sync. What an interrupted write has left after `start` is cut off."""
    with path.open("r+b") as file:
        file.truncate(start)
        file.seek(start)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
