"""A process that writes a knowledge base is killed at random moments."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from knowledge_bases import MANY, open_base

from knowledge_stand_ins import texts_of

WRITER = """
import random, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from knowledge_stand_ins import add
from knowledge_bases import open_base
from turnwise.store.sqlite import knowledge_store

knowledge_store.BATCH_PASSAGES = 20  # so that many documents are staged
rng, base = random.Random(int(sys.argv[2])), open_base(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10**6):
    source = rng.choice("abc")
    if rng.random() < 0.2:
        document = base.store.find_document(source, "")
        print(f"begin {{source}} 0 {{number}}", flush=True)
        if document is not None:
            base.store.delete(document.id, "")
        print(f"end {{source}} 0 {{number}}", flush=True)
    else:
        size = rng.choice([1, 5, 30, 70])
        print(f"begin {{source}} {{size}} {{number}}", flush=True)
        add(base.store, source, *(f"lamp {{number}} {{i}}" for i in range(size)))
        print(f"end {{source}} {{size}} {{number}}", flush=True)
    if rng.random() < 0.5:
        base.update_lexical()
    if rng.random() < 0.3:
        base.embed()
"""


def run_until_killed(folder, seed):
    """Contents of each source by the acknowledgements of a process that was killed, and the change under way."""
    rng = random.Random(seed)
    code = WRITER.format(tests=str(Path(__file__).parent))
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(seed)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    lines = [process.stdout.readline() for _ in range(rng.randint(1, 24))]
    process.kill()
    lines += process.stdout.read().splitlines()
    process.communicate()  # waits, and closes the pipe
    contents, under_way = {}, None
    for line in lines:
        if line.count(" ") == 3:
            phase, source, size, number = line.split()
            under_way = (source, int(size), int(number)) if phase == "begin" else None
            if phase == "end":
                contents[source] = (int(size), int(number))
    return contents, under_way


def expected_texts(size, number):
    return [f"lamp {number} {i}" for i in range(size)]


@pytest.mark.parametrize("seed", [1, 2, 3, pytest.param(range(4, 40), marks=pytest.mark.slow)])
def test_a_killed_process_leaves_whole_documents_and_indexes_that_catch_up(tmp_path, seed):
    for number in [seed] if isinstance(seed, int) else seed:
        folder = tmp_path / str(number)
        contents, under_way = run_until_killed(folder, number)
        base = open_base(folder)
        assert base.problems() == [] or not base.is_searchable()
        base.update_lexical()
        base.embed()
        assert base.problems() == []
        stored = {
            source: [] if (document := base.store.find_document(source, "")) is None
            else [passage.text for passage in base.store.document_passages(document.id, "")]
            for source in "abc"
        }  # fmt: skip
        for source, texts in stored.items():
            possible = [expected_texts(*contents.get(source, (0, 0)))]
            if under_way is not None and under_way[0] == source:
                possible.append(expected_texts(*under_way[1:]))
            assert texts in possible
        everything = sorted(text for texts in stored.values() for text in texts)
        for mode in ("lexical", "dense"):
            assert sorted(texts_of(base.index.search_scope("lamp", MANY, mode=mode).passages)) == everything
        base.close()


FILE_WRITER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from knowledge_bases import open_base
from turnwise.store.sqlite import knowledge_store

knowledge_store.BATCH_PASSAGES = 10
base = open_base(Path(sys.argv[1]))
print("ready", flush=True)
for path in sys.argv[2:]:
    base.add_file(Path(path), source=Path(path).name)
    base.update_lexical()
    base.embed()
    print(Path(path).name, flush=True)
"""


@pytest.mark.parametrize("seed", [1, 2, pytest.param(range(3, 20), marks=pytest.mark.slow)])
def test_no_file_is_indexed_in_part_by_a_killed_process(tmp_path, seed):
    """The process that parses, stores and indexes files is killed at a random moment of its work."""
    files = {}
    for number in range(4):
        files[f"{number}.csv"] = [f"Name: lamp {number} {row} | Note: {'w ' * 60}".strip() for row in range(150)]
        (tmp_path / f"{number}.csv").write_text(
            "Name,Note\n" + "".join(f"lamp {number} {row},{'w ' * 60}\n" for row in range(150))
        )
    code = FILE_WRITER.format(tests=str(Path(__file__).parent))
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    for run in [seed] if isinstance(seed, int) else seed:
        folder = tmp_path / f"base-{run}"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder), *(str(tmp_path / name) for name in files)],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        lines = [process.stdout.readline() for _ in range(run % 3)]
        time.sleep(random.Random(run).uniform(0, 0.3))
        process.kill()
        lines += process.stdout.read().splitlines()
        process.communicate()
        acknowledged = [line.strip() for line in lines if line.strip() in files]
        base = open_base(folder)
        base.update_lexical()
        base.embed()
        assert base.problems() == []
        for name, rows in files.items():
            document = base.store.find_document(name, "")
            assert document is not None or name not in acknowledged
            if document is not None:
                text = "\n\n".join(passage.text for passage in base.store.document_passages(document.id, ""))
                assert text.split("\n\n") == rows
        for name in files:
            base.add_file(tmp_path / name, source=name)
        assert [document.source for document in base.store.documents("", 10)] == list(files)
        base.close()
