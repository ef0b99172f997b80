"""The parser process: a document that crashes it, hangs or takes too much memory costs one error."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from pdf_files import PdfPage, write_pdf

from turnwise.core.errors import Unavailable, UserError
from turnwise.retrieval.frames import FrameReader, InvalidFrame, write_frame
from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parser_process import ParserLimits, ParserProcess, UnreadableDocument
from turnwise.retrieval.passages import divide_into_passages

# A parser of another package. The first word of a document says what it does.
HOSTILE_PARSER = """
import ctypes, json, os, sys, time
from turnwise.retrieval.parsed_document import Block


def detect(source):
    return 2.0 if source.text_head.startswith("HOSTILE ") else 0.0


def parse(source, notes):
    action = source.text_head.split()[1]
    yield Block("paragraph", "first")
    for number in range(1000):
        yield Block("paragraph", "x" * 100)
    if action == "crash":
        ctypes.string_at(0)
    elif action == "hang":
        time.sleep(600)
    elif action == "spin":
        while True:
            pass
    elif action == "memory":
        pieces = [b"x" * 2**20 for _ in range(2**20)]
    elif action == "exit":
        os._exit(3)
    elif action == "print":
        print("noise on the standard output", flush=True)
        os.write(1, b"more noise")
    elif action == "fail":
        raise KeyError("PRIVATE TEXT")
    elif action == "recurse":
        def recurse():
            recurse()
        recurse()
    elif action == "modules":
        yield Block("paragraph", json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def hostile_package(tmp_path, monkeypatch):
    """Install the hostile parser as another package would be."""
    folder = tmp_path / "packages"
    metadata = folder / "hostile-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "hostile_parser.py").write_text(HOSTILE_PARSER)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[turnwise.document_parsers]\nhostile = hostile_parser\n")
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def hostile(write, hostile_package):
    """Write a document that the hostile parser reads."""
    return lambda action: write(f"{action}.txt", f"HOSTILE {action}")


LIMITS = ParserLimits(memory_bytes=2**30, cpu_seconds=3, seconds=600)


@pytest.fixture
def parsers():
    with ParserProcess(LIMITS) as process:
        yield process


def is_running(pid):
    """True if a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def wait_until_ended(pid):
    while is_running(pid):
        time.sleep(0.05)


def worker_pid(parsers):
    return parsers._worker._process.pid


def test_a_document_is_parsed(parsers, write):
    document = parsers.parse(write("a.md", "# Title\n\nText 退货."))
    assert document.blocks == [Block("heading", "Title", 1), Block("paragraph", "Text 退货.")]
    assert (document.title, document.warnings) == ("Title", ())


def test_documents_are_parsed_by_the_same_process(parsers, write):
    parsers.parse(write("a.txt", "one"))
    pid = worker_pid(parsers)
    with pytest.raises(UnreadableDocument):
        parsers.parse(write("b.txt", "a\0b"))
    parsers.parse(write("c.txt", "two"))
    assert worker_pid(parsers) == pid


def test_blocks_come_in_bounded_batches_and_give_the_same_passages(parsers, write):
    path = write("a.csv", "Name,Price\n" + "".join(f"item {number},{number}\n" for number in range(3000)))
    with parsers.open(path) as stream:
        batches = list(stream)
    assert len(batches) > 10
    assert max(map(len, batches)) <= 256
    blocks = [block for batch in batches for block in batch]
    assert len(blocks) == 3000
    assert list(divide_into_passages(block for batch in batches for block in batch)) == list(
        divide_into_passages(blocks)
    )


def test_an_error_names_the_document(parsers, write):
    with pytest.raises(UnreadableDocument, match=r"^'bad name .txt' cannot be read\. It is not a text"):
        parsers.parse(write("a.txt", "a\0b"), "bad\nname .txt")
    with pytest.raises(UnreadableDocument, match=r"'none\.txt' cannot be read\. The file cannot be read: No such file"):
        parsers.parse(Path("none.txt"))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("crash", r"Its parser crashed \(SIGSEGV\)"),
        ("spin", "more than 3 seconds of processor time"),
        ("memory", r"needs more than 1\.1 GB of memory"),
        ("exit", "ended unexpectedly"),
        ("recurse", "nested too deeply"),
    ],
)
def test_a_parser_that_fails_costs_one_error_and_the_next_document_is_parsed(parsers, hostile, write, action, message):
    with pytest.raises(UnreadableDocument, match=message) as caught:
        parsers.parse(hostile(action))
    assert f"'{action}.txt'" in str(caught.value)
    assert isinstance(caught.value, UserError)
    assert parsers.parse(write("next.txt", "fine")).text == "fine"


def test_a_parser_that_hangs_is_ended(hostile, write, monkeypatch):
    monkeypatch.setattr("turnwise.retrieval.parser_process.START_SECONDS", 600)
    with ParserProcess(ParserLimits(seconds=0.5)) as parsers:
        parsers.parse(write("warm.txt", "fine"))
        pid = worker_pid(parsers)
        with pytest.raises(UnreadableDocument, match=r"takes more than 0\.5 seconds"):
            parsers.parse(hostile("hang"))
        wait_until_ended(pid)
        assert parsers.parse(write("next.txt", "fine")).text == "fine"


def test_time_in_which_nobody_asks_for_blocks_does_not_count(hostile, write):
    with ParserProcess(ParserLimits(seconds=30)) as parsers, parsers.open(hostile("print")) as stream:
        batches = iter(stream)
        next(batches)
        before = stream._seconds_left
        time.sleep(0.3)
        assert stream._seconds_left == before


def test_what_a_library_prints_does_not_disturb(parsers, hostile):
    assert len(parsers.parse(hostile("print")).blocks) == 1001


def test_the_message_of_an_error_has_no_text_of_the_document(parsers, hostile):
    with pytest.raises(UnreadableDocument, match=r"its hostile parser failed \(KeyError\)") as caught:
        parsers.parse(hostile("fail"))
    assert "PRIVATE" not in str(caught.value)


def test_the_process_does_not_import_torch(parsers, hostile, write):
    parsers.parse(write("a.html", "<p>x"))
    parsers.parse(write("a.pdf", write_pdf([PdfPage([(50, 700, 12, "x")])])))
    modules = parsers.parse(hostile("modules")).blocks[-1].text
    assert '"selectolax.lexbor"' in modules
    assert '"pypdfium2"' in modules
    assert '"torch"' not in modules
    assert '"numpy"' not in modules


def test_a_process_that_was_killed_between_documents_is_replaced(parsers, write):
    parsers.parse(write("a.txt", "one"))
    pid = worker_pid(parsers)
    os.kill(pid, signal.SIGKILL)
    wait_until_ended(pid)
    assert parsers.parse(write("b.txt", "two")).text == "two"


def test_a_process_that_dies_just_before_a_request_is_replaced(parsers, write, monkeypatch):
    """It looks alive until its exit status can be read."""
    parsers.parse(write("a.txt", "one"))
    dying = parsers._worker
    monkeypatch.setattr(dying, "is_alive", lambda: True)
    with Path(os.devnull).open("wb") as sink:
        os.dup2(sink.fileno(), dying._input.fileno())  # a pipe that still takes a request
    os.kill(worker_pid(parsers), signal.SIGKILL)
    assert parsers.parse(write("b.txt", "two")).text == "two"
    assert parsers._worker is not dying


def test_a_document_that_is_not_read_to_its_end_ends_its_process(parsers, hostile, write):
    with parsers.open(hostile("hang")) as stream:
        assert next(iter(stream))[0].text == "first"
        pid = worker_pid(parsers)
    wait_until_ended(pid)
    assert parsers.parse(write("next.txt", "fine")).text == "fine"


def test_threads_wait_for_each_other(parsers, write):
    paths = [write(f"{number}.txt", f"text {number}\n\n" * 500) for number in range(8)]
    texts = {}

    def parse(path):
        texts[path.name] = parsers.parse(path).blocks[0].text

    threads = [threading.Thread(target=parse, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {f"{number}.txt": f"text {number}" for number in range(8)}


def test_closing_ends_the_process_also_while_a_document_is_parsed(hostile):
    parsers = ParserProcess(LIMITS)
    has_begun, errors = threading.Event(), []

    def parse():
        try:
            with parsers.open(hostile("hang")) as stream:
                for _ in stream:
                    has_begun.set()
        except UnreadableDocument as error:
            errors.append(error)

    thread = threading.Thread(target=parse)
    thread.start()
    has_begun.wait()
    pid = worker_pid(parsers)
    parsers.close()
    thread.join()
    wait_until_ended(pid)
    assert len(errors) == 1
    with pytest.raises(Unavailable):
        parsers.parse(Path("a.txt"))


PARENT = """
import sys
from pathlib import Path
from turnwise.retrieval.parser_process import ParserProcess

with ParserProcess() as parsers, parsers.open(Path(sys.argv[1])) as stream:
    for batch in stream:
        print(parsers._worker._process.pid, flush=True)
"""


@pytest.fixture
def start_parent(hostile, tmp_path, monkeypatch):
    """Start another program that parses a document without end; returns it and the process of its parser."""
    programs = []

    def start(action):
        command = [sys.executable, "-c", textwrap.dedent(PARENT), str(hostile(action))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        programs.append(program)
        return program, int(program.stdout.readline())

    yield start
    for program in programs:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("action", ["hang", "spin"])
def test_the_process_does_not_outlive_a_parent_that_is_killed(start_parent, action):
    program, pid = start_parent(action)
    assert is_running(pid)
    program.kill()
    wait_until_ended(pid)


def test_ctrl_c_ends_both_processes(start_parent):
    program, pid = start_parent("hang")
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate()
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
    assert not is_running(pid)


def test_frames_go_through_a_pipe_and_damaged_ones_are_refused():
    end, start = os.pipe()
    reader = FrameReader(end)
    values = [{"text": "退货 \0 \U0001f600"}, [1, None, True], "x" * 10_000]
    for value in values:
        write_frame(start, value)
    assert [reader.read(5) for _ in values] == values
    with pytest.raises(TimeoutError):
        reader.read(0.01)
    os.write(start, b"\0\0\0\2{x")
    with pytest.raises(InvalidFrame):
        reader.read(5)
    os.write(start, b"\xff\xff\xff\xff")
    with pytest.raises(InvalidFrame):
        reader.read(5)
    os.close(start)
    with pytest.raises(EOFError):
        FrameReader(end).read(5)
    os.close(end)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # tracemalloc makes it several times slower
def test_a_million_rows_take_little_memory_on_both_sides(tmp_path):
    import tracemalloc

    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("Name,Price,Note\n")
        file.writelines(f"item {number},{number},a note on item {number}\n" for number in range(1_000_000))
    # The libraries take 160 MB of the limit; the rows as Python objects would take more than 300 MB.
    with ParserProcess(ParserLimits(memory_bytes=256 * 2**20, cpu_seconds=1000, seconds=3000)) as parsers:
        tracemalloc.start()
        with parsers.open(path) as stream:
            passages = divide_into_passages(block for batch in stream for block in batch)
            num_rows = sum(passage.text.count("Name: ") for passage in passages)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert num_rows == 1_000_000
    assert peak < 20 * 2**20
