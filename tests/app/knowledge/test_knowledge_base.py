"""A knowledge base with its indexes, compared with a simple model, and killed at random moments."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_stand_ins import WordEncoder, add, texts_of
from turnwise.app.knowledge.documents import find_files
from turnwise.app.knowledge.index_workers import IndexWorkers
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.knowledge.questions import Question, judge, read_questions, tune_base
from turnwise.core.errors import InvalidData, UserError
from turnwise.retrieval.lexical_writer import lexical_writer
from turnwise.store import open_knowledge_store

WORDS = ["lamp", "chair", "table"]
MANY = 1000


def open_base(folder, encoder=None):
    store = open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}")
    return KnowledgeBase(folder, store, encoder or WordEncoder())


@pytest.fixture
def base(tmp_path):
    opened = open_base(tmp_path / "base")
    yield opened
    opened.close()


# Against a model

STEPS = st.one_of(
    st.tuples(
        st.just("add"), st.sampled_from("ab"), st.sampled_from(["", "x"]),
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    ),
    st.tuples(st.just("delete"), st.sampled_from("ab"), st.sampled_from(["", "x"])),
    st.tuples(st.just("words")),
    st.tuples(st.just("vectors")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("rebuild")),
)  # fmt: skip


@given(steps=st.lists(STEPS, min_size=3, max_size=10))
@settings(max_examples=12)
@pytest.mark.costly
def test_a_search_returns_what_the_model_has(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("base")
    base, model = open_base(folder), {}
    for step in [*steps, ("words",), ("vectors",)]:
        match step:
            case ("add", source, scope, words):
                texts = [f"{word} {source} {i}" for i, word in enumerate(words)]
                expected = "added" if (scope, source) not in model else "replaced"
                change = add(base.store, source, *texts, scope=scope).change
                assert change == ("unchanged" if model.get((scope, source)) == texts else expected)
                model[scope, source] = texts
            case ("delete", source, scope):
                document = base.store.find_document(source, scope)
                assert (document is not None) == ((scope, source) in model)
                if document is not None:
                    assert base.store.delete(document.id, scope)
                    del model[scope, source]
            case ("words",):
                base.update_lexical()
            case ("vectors",):
                base.embed()
            case ("reopen",):  # as after a crash: nothing was closed
                base = open_base(folder)
            case ("rebuild",):
                base.rebuild(vectors=True)
        check_against(base, model)
    base.update_lexical()
    for scope in ("", "x"):
        for word in WORDS:
            outcome = base.index.search_scope(word, MANY, scope, mode="lexical")
            assert sorted(texts_of(outcome.passages)) == sorted(t for t in texts_in(model, scope) if word in t)
        assert base.index.search_scope("lamp", MANY, scope).coverage == 1.0
        dense = base.index.search_scope("lamp", MANY, scope, mode="dense")
        assert sorted(texts_of(dense.passages)) == sorted(texts_in(model, scope))
    assert base.problems() == []


def texts_in(model, scope):
    return [text for (owner, _), texts in model.items() for text in texts if owner == scope]


def check_against(base, model):
    """Whatever the indexes contain, a search returns nothing but what the model has."""
    for scope in ("", "x"):
        texts = texts_in(model, scope)
        if base.is_searchable():
            outcome = base.index.search_scope("lamp chair table", MANY, scope)
            assert set(texts_of(outcome.passages)) <= set(texts)


# Kill -9

WRITER = """
import random, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from knowledge_stand_ins import add
from test_knowledge_base import open_base
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
from test_knowledge_base import open_base
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


# Workers


def test_workers_make_additions_of_any_process_searchable(base):
    other = open_base(base.folder)
    workers = IndexWorkers(base)
    workers.start()
    try:
        for number in range(3):
            document = add(other.store, "a", f"lamp {number}").document
            wait_until(lambda id=document.id: base.is_searchable() and base.status().num_vectors == 1)
            assert texts_of(other.index.search("lamp", 5)) == [f"lamp {number}"]
    finally:
        workers.stop()
    assert base.problems() == []
    other.close()


def test_workers_go_on_after_an_unexpected_error(base, monkeypatch, caplog):
    monkeypatch.setattr("turnwise.app.knowledge.index_workers.RETRY_SECONDS", 0.0)
    errors = [OSError("secret words of a document"), ValueError("secret words of a document")]

    def fail_twice(*arguments):
        if errors:
            raise errors.pop()
        return lexical_writer(*arguments)

    monkeypatch.setattr("turnwise.app.knowledge.index_workers.lexical_writer", fail_twice)
    add(base.store, "a", "lamp")
    workers = IndexWorkers(base)
    workers.start()
    try:
        wait_until(base.is_searchable)
    finally:
        workers.stop()
    assert texts_of(base.index.search("lamp", 5)) == ["lamp"]
    assert errors == []
    assert caplog.text.count("is tried again: OSError") == caplog.text.count("is tried again: ValueError") == 1
    assert "secret" not in caplog.text


def wait_until(condition):
    """Wait without a limit of its own: the test runner has one."""
    import time

    while not condition():
        time.sleep(0.01)


def test_embedding_stops_after_a_batch_and_continues(base, monkeypatch):
    monkeypatch.setattr("turnwise.app.knowledge.knowledge_base.EMBED_PASSAGES", 4)
    add(base.store, "a", *(f"lamp {i}" for i in range(10)))
    progress = []
    assert base.embed(lambda done, total: progress.append((done, total)), is_stopped=lambda: bool(progress)) == 4
    assert base.embed(lambda done, total: progress.append((done, total))) == 6
    assert progress == [(4, 10), (4, 6), (6, 6)]
    assert base.encoder.num_texts == 10


def test_another_encoder_has_vectors_of_its_own(base):
    add(base.store, "a", "lamp")
    base.update_lexical()
    base.embed()
    other = open_base(base.folder, WordEncoder("words-2", dimension=16))
    assert (other.status().num_vectors, base.status().num_vectors) == (0, 1)
    assert other.index.search_scope("lamp", 5).mode == "lexical"
    other.embed()
    assert (other.status().num_vectors, base.status().num_vectors) == (1, 1)
    other.close()


@pytest.mark.slow
def test_the_disk_grows_little_over_2000_edits(base):
    rng = random.Random(0)
    texts = [[f"lamp {source} {i} " * 40 for i in range(5)] for source in range(100)]
    for source, passages in enumerate(texts):
        add(base.store, str(source), *passages)
    base.update_lexical()
    base.embed()
    base.compact()
    before = disk_usage(base.folder)
    for edit in range(2000):
        source = rng.randrange(100)
        add(base.store, str(source), f"edit {edit}", *texts[source][1:])
        if edit % 50 == 0:
            base.update_lexical()
            base.embed()
    base.update_lexical()
    base.embed()
    base.compact()
    assert disk_usage(base.folder) <= 1.5 * before
    assert base.problems() == []


def disk_usage(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# Files


def test_a_file_is_parsed_into_passages_with_title_headings_and_warnings(base, tmp_path):
    path = tmp_path / "returns.html"
    path.write_text("<title>Returns</title><h1>Fees</h1><p>A desk costs ten euros.</p>", encoding="gb18030")
    document = base.add_file(path).document
    assert (document.title, document.num_passages) == ("Returns", 1)
    base.update_lexical()
    (found,) = base.index.search("what does the desk cost", 3)
    assert "A desk costs ten euros." in found.passage.text
    assert found.passage.location.headings == ("Fees",)
    assert base.add_file(path).change == "unchanged"


def test_a_document_that_cannot_be_read_changes_nothing(base, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "the lamp is red"}\n' * 1500 + "[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl.*line 1,501 should be an object"):
        base.add_file(path)
    assert base.status().num_documents == 0
    assert base.store.problems() == []


def test_a_document_of_many_batches_keeps_its_title(base, tmp_path):
    path = tmp_path / "long.md"
    path.write_text("# Manual\n\n" + "\n\n".join(f"## Part {i}\n\n" + f"word{i} " * 150 for i in range(1100)))
    document = base.add_file(path).document
    assert (document.title, document.num_passages) == ("Manual", 1100)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "line 2 is not readable JSON"), ("[]", "line 2 should be an object"), ('{"text": 5}', "with a 'text'"),
     ('{"text": "x", "heading": 1}', "'heading' of text")],
)  # fmt: skip
def test_a_malformed_line_of_json_texts_is_one_sentence(base, tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one", "heading": "H"}}\n{content}')
    with pytest.raises(UserError, match=message):
        base.add_file(tmp_path / "a.jsonl")


def test_folders_are_read_in_order_without_hidden_files(tmp_path):
    for name in ("b.txt", "a/c.md", ".git/x.md", "a/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_files(tmp_path)] == ["c.md", "b.txt"]
    with pytest.raises(InvalidData, match="does not exist"):
        find_files(tmp_path / "missing")


# Questions


def test_questions_name_the_passages_that_answer(base, tmp_path):
    add(base.store, "a", "The  LAMP is red.", "The chair is blue.")
    path = tmp_path / "questions.jsonl"
    path.write_text(
        '{"question": "Which lamp?", "source": "a", "answer": "lamp is"}\n{"question": "?", "source": "b"}\n'
    )
    questions = list(read_questions(path))
    assert judge(base, questions[0], "").relevant == {1}
    assert judge(base, questions[1], "").relevant == frozenset()
    assert judge(base, Question(question="x", source="a"), "").relevant == {1, 2}
    base.update_lexical()
    base.embed()
    report = tune_base(base, iter(questions))
    assert (report.num_questions, report.num_unanswerable) == (1, 1)
    assert report.recall["lexical"].mean == 1.0
    assert base.index.weight("hybrid") == report.result.weight


def test_a_malformed_question_is_named(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "x", "source": "a"}\n{"question": "x"}\n')
    with pytest.raises(UserError, match=r"line 2.*'source' is missing"):
        list(read_questions(path))
