"""The program of the parser process: parses documents that its parent names, and sends their blocks in batches.

It is started by `parser_process.py`. It ends when its parent closes the pipe, and soon after its parent has died.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from turnwise.core.errors import UserError
from turnwise.retrieval.frames import ACCEPTED, FrameReader, write_frame
from turnwise.retrieval.parsed_document import Block

BATCH_BLOCKS = 256
BATCH_CHARACTERS = 2**17
PARENT_CHECK_SECONDS = 0.5


def main() -> None:
    """Serve requests until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    requests, replies = _claim_pipes()
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    reader = FrameReader(requests)
    with suppress(EOFError, BrokenPipeError):
        limits = reader.read()
        _limit_memory(limits["memory_bytes"])
        while True:
            request = reader.read()
            write_frame(replies, ACCEPTED)
            _limit_cpu(limits["cpu_seconds"])
            for reply in _replies(request):
                write_frame(replies, reply)


def _claim_pipes() -> tuple[int, int]:
    """Take standard input and output for frames; a library that prints writes nowhere."""
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return requests, replies


def _exit_with_parent(parent: int) -> None:
    """End this process when its parent has died while a document is parsed.

    Linux can send a signal instead (PR_SET_PDEATHSIG), but does so when the thread that started this process ends. A
    library that never returns to Python is ended by the limit on processor time.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def _limit_memory(num_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, maximum = resource.getrlimit(resource.RLIMIT_AS)
    if maximum != resource.RLIM_INFINITY:
        num_bytes = min(num_bytes, maximum)
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, maximum))


def _limit_cpu(seconds: int) -> None:
    """Let the system end this process (SIGXCPU) after so many more seconds of processor time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, maximum = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(usage.ru_utime + usage.ru_stime) + seconds + 1
    if maximum != resource.RLIM_INFINITY:
        limit = min(limit, maximum)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, maximum))


def _replies(request: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the replies to a request: batches of blocks, then the title and warnings, or an error.

    After an error with `is_memory_error`, the state of the parsers is unknown: the parent starts another process.
    """
    # Imported here, so that a missing library or a broken plug-in is an error of the document.
    from turnwise.retrieval.parsing.document_source import DocumentNotes
    from turnwise.retrieval.parsing.parse_document import parse_document

    notes = DocumentNotes()
    try:
        blocks = parse_document(Path(request["path"]), notes, request["name"])
        for batch in _batches(blocks):
            yield {"blocks": [[block.kind, block.text, block.level, block.page] for block in batch]}
    except UserError as error:
        yield {"error": str(error)}
    except OSError as error:
        yield {"error": f"The file cannot be read: {error.strerror or type(error).__name__}."}
    except MemoryError:
        yield {"error": "", "is_memory_error": True}
    except Exception as error:  # of the code that surrounds the parsers; whatever it is, the document gets an answer
        yield {"error": f"Its parser failed ({type(error).__name__})."}
    else:
        yield {"title": notes.title, "warnings": notes.all_warnings()}


def _batches(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    batch: list[Block] = []
    num_characters = 0
    for block in blocks:
        batch.append(block)
        num_characters += len(block.text)
        if len(batch) >= BATCH_BLOCKS or num_characters >= BATCH_CHARACTERS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch


if __name__ == "__main__":
    main()
