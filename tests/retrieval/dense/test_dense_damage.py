"""A dense index after crashes and damage, and with several readers and writers."""

import os
import shutil
import threading

import numpy as np
import pytest
from dense_samples import ENCODER, random_vectors, write
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_stand_ins import WordEncoder, add
from turnwise.core.errors import Unavailable
from turnwise.retrieval.dense_index import DenseIndex
from turnwise.retrieval.dense_writer import dense_writer
from turnwise.retrieval.index_cursor import IndexCursor, IndexDamaged
from turnwise.store import open_knowledge_store


def test_rows_after_the_saved_state_do_not_exist(folder):
    vectors = random_vectors(50)
    write(folder, vectors[:30])
    for name in ("ids.i64", "rows.i8", "bits.00"):  # what a killed writer leaves
        with (folder / name).open("ab") as file:
            file.write(os.urandom(100))
    assert DenseIndex(folder, ENCODER).count(1) == 30
    write(folder, vectors[30:], first_id=31)
    query = vectors[40]
    assert DenseIndex(folder, ENCODER).search(query, 1, 1).ids_K.tolist() == [41]
    assert DenseIndex(folder, ENCODER).count(1) == 50


def test_another_encoder_is_never_mixed_in(folder):
    write(folder, random_vectors(10))
    with pytest.raises(IndexDamaged, match="another encoder"):
        DenseIndex(folder, "encoder-2").rows()
    write(folder, random_vectors(5), encoder="encoder-2")
    assert DenseIndex(folder, "encoder-2").count(1) == 5


def test_another_store_starts_anew(store, folder, tmp_path):
    encoder = WordEncoder()
    add(store, "a", "lamp", "chair")
    other = open_knowledge_store(f"sqlite:///{tmp_path / 'other.db'}")
    add(other, "a", "table")
    for source in (store, other):
        with dense_writer(folder, encoder, 1.0) as writer:
            while writer.update(source, encoder):
                pass
    assert DenseIndex(folder, encoder.fingerprint).count(1) == 1
    other.close()


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intact") / "hash"
    write(folder, random_vectors(30))
    return folder


@given(data=st.data(), kind=st.sampled_from(["flip", "cut", "delete"]), position=st.integers(0, 10**6))
@settings(max_examples=60)
def test_a_damaged_file_is_never_served(tmp_path_factory, intact, data, kind, position):
    folder = tmp_path_factory.mktemp("damaged") / "hash"
    shutil.copytree(intact, folder)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: position % len(content)])
    else:
        content[position % len(content)] ^= 1 << position % 8
        path.write_bytes(content)
    with pytest.raises(IndexDamaged):
        DenseIndex(folder, ENCODER).rows()


def test_a_damaged_index_is_built_anew(folder):
    vectors = random_vectors(30)
    write(folder, vectors)
    (folder / "rows.i8").write_bytes(b"")
    write(folder, vectors[:7])
    assert DenseIndex(folder, ENCODER).count(1) == 7


def test_one_writer_at_a_time(folder):
    encoder = WordEncoder()
    with dense_writer(folder, encoder, 1.0), pytest.raises(Unavailable), dense_writer(folder, encoder, 0.0):
        pass


@pytest.mark.costly
def test_readers_run_beside_appends_and_compactions(folder):
    vectors = random_vectors(400)
    writer = write(folder, vectors[:100])
    index, errors, stop = DenseIndex(folder, ENCODER), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                assert index.search(vectors[5], 1, 1).ids_K.tolist() == [6]
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(100, 400, 20):
        ids = np.arange(start + 1, start + 21)
        writer.append(ids, np.ones(20), vectors[start : start + 20], IndexCursor("base", start, 0, 1))
        writer.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
