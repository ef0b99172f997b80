"""A pipe: lines as they come, and again until they are stored."""

import os

from source_batches import RECORDS, contents

from turnwise.app.monitor.sources.pipe_source import PipeSource


def read_pipe(source, position, number):
    texts = []
    while len(texts) < number:
        batch = source.read(position, 10)
        source.confirm(batch.position)
        texts, position = [*texts, *batch.texts], batch.position
    return texts, position


def test_a_pipe_gives_lines_as_they_come_and_ends():
    reader, writer = os.pipe()
    source = PipeSource(reader, RECORDS, "s")
    assert source.read(None, 10).texts == ()
    source.confirm(source.read(None, 10).position)
    os.write(writer, b"one\ntw")
    assert contents(read_pipe(source, None, 1)[0]) == ["one"]
    os.write(writer, b"o\nthree")
    os.close(writer)
    texts, position = read_pipe(source, None, 2)
    assert contents(texts) == ["two", "three"]
    while not (batch := source.read(position, 10)).is_finished:
        source.confirm(batch.position)
    os.close(reader)


def test_lines_that_were_not_stored_are_returned_again_and_a_new_start_has_new_ids():
    ids = []
    position = None
    for _ in range(2):
        reader, writer = os.pipe()
        os.write(writer, b"one\n")
        os.close(writer)
        source = PipeSource(reader, RECORDS, "s")
        while not (batch := source.read(position, 10)).texts:
            source.confirm(batch.position)
        assert source.read(position, 10) is batch
        ids.append(batch.texts[0].id)
        position = batch.position
        source._thread.join()
        os.close(reader)
    assert ids[0] != ids[1]
