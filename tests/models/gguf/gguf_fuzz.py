"""Opens damaged copies of GGUF files: gguf_fuzz.py SEED COUNT FILE...

Prints one JSON object: how many copies were opened and refused, the longest processor time, the largest growth of the
memory in use, and the failures: other exceptions than `TurnwiseError`, a second or more, or more address space than
twice the file's size and a constant. The address space is limited, so that an allocation beyond it fails.
"""

import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path

from gguf_files import ARRAY, FLOAT32, STRING, UINT32, parse_gguf, raw_gguf, text

MAX_SECONDS = 1
HANG_SECONDS = 60  # of wall-clock time, on a machine with other work
EXTRA_BYTES = 64 * 2**20  # for the interpreter, torch and the tokenizers library
NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    8,
    31,
    33,
    255,
    4096,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63,
    2**64 - 1,
]
STRINGS = [b"", b"\0", b"\xff\xfe", b"x" * 5000, "é🚚\u2028".encode(), b"../../x", b"%s{}{{", b"a " * 300, b"(a+)+$",
           b"{% for x in range(999999999) %}a{% endfor %}", b"{{ ''.__class__.__mro__ }}", b"{% if", b"{{" * 3000,
           b"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", b"llama", b"gpt2", b"qwen2", b"yarn"]  # fmt: skip


def number_bytes(rng):
    return struct.pack("<Q", rng.choice(NUMBERS))


def flip_bits(rng, content):
    content = bytearray(content)
    end = len(content) if rng.random() < 0.3 else min(len(content), rng.choice([64, 1000, 8000, 30_000]))
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        content[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(content)


def truncate(rng, content):
    return content[: rng.randrange(len(content))] + bytes(rng.choice([0, 0, 1, 1000]))


def overwrite(rng, content):
    """Write a number where a length, a count, a type or an offset may be."""
    size, start = rng.choice([4, 8]), rng.randrange(8, min(len(content) - 8, rng.choice([24, 200, 3000, 30_000])))
    return content[:start] + number_bytes(rng)[:size] + content[start + size :]


def move_bytes(rng, content):
    """Delete or repeat a piece of the header."""
    start = rng.randrange(24, min(len(content), 20_000))
    stop = start + rng.randrange(1, 200)
    return content[:start] + content[start:stop] * rng.choice([0, 2, 5]) + content[stop:]


def change_entries(rng, content):
    """Change values, types and keys of the metadata."""
    entries, tensors, data = parse_gguf(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        index = rng.randrange(len(entries))
        key, kind, value = entries[index]
        nested = struct.pack("<IQ", ARRAY, 1) * rng.choice([1, 50, 3000]) + struct.pack("<IQ", UINT32, 0)
        strings = rng.choices(STRINGS, k=rng.randrange(5))
        entries[index] = rng.choice([
            (key, STRING, text(rng.choice(STRINGS))),
            (rng.choice(STRINGS), kind, value),
            (key, rng.randrange(14), value),
            (key, UINT32, number_bytes(rng)[:4]),
            (key, kind, number_bytes(rng)[: len(value)] + value[8:]),
            (key, FLOAT32, struct.pack("<f", rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30]))),
            (key, ARRAY, nested),
            (key, ARRAY, struct.pack("<IQ", STRING, len(strings)) + b"".join(map(text, strings))),
            (key, ARRAY, struct.pack("<I", rng.randrange(14)) + number_bytes(rng) + value),
            entries[rng.randrange(len(entries))],
        ])  # fmt: skip
    if rng.random() < 0.2:
        del entries[rng.randrange(len(entries))]
    return raw_gguf(entries, tensors, data=data)


def change_list(rng, content):
    """Change strings within the lists of tokens and merges, or the numbers in the lists of types and scores."""
    entries, tensors, data = parse_gguf(content)
    lists = [index for index, (_, kind, _) in enumerate(entries) if kind == ARRAY]
    index = rng.choice(lists)
    key, _, value = entries[index]
    item, count = struct.unpack_from("<IQ", value)
    if item == STRING:
        strings, position = [], 12
        for _ in range(count):
            (length,) = struct.unpack_from("<Q", value, position)
            strings.append(value[position + 8 : position + 8 + length])
            position += 8 + length
        for _ in range(rng.choice([1, 3, 100])):
            strings[rng.randrange(count)] = rng.choice([*STRINGS, rng.choice(strings)])
        if rng.random() < 0.2:
            strings = strings[: rng.randrange(count)]
        value = struct.pack("<IQ", STRING, len(strings)) + b"".join(map(text, strings))
    else:
        width = (len(value) - 12) // count
        changed = bytearray(value)
        for _ in range(rng.choice([1, 3, 100])):
            start = 12 + width * rng.randrange(count)
            changed[start : start + width] = rng.choice([number_bytes(rng)[:width], rng.randbytes(width)])
        value = bytes(changed)
    entries[index] = key, ARRAY, value
    return raw_gguf(entries, tensors, data=data)


def change_tensors(rng, content):
    """Change names, dimensions, types and offsets of tensors."""
    entries, tensors, data = parse_gguf(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        index = rng.randrange(len(tensors))
        name, dimensions, kind, offset = tensors[index]
        size = rng.choice(NUMBERS)
        tensors[index] = rng.choice([
            (rng.choice(STRINGS), dimensions, kind, offset),
            (name, dimensions[::-1], kind, offset),
            (name, (*dimensions[:-1], size), kind, offset),
            (name, (size, *dimensions[1:]), kind, offset),
            (name, dimensions * rng.randrange(4), kind, offset),
            (name, dimensions, rng.randrange(45), offset),
            (name, dimensions, kind, size),
            tensors[rng.randrange(len(tensors))],
        ])  # fmt: skip
    counts = {"num_entries": rng.choice(NUMBERS), "num_tensors": rng.choice(NUMBERS)} if rng.random() < 0.1 else {}
    return raw_gguf(entries, tensors, data=data, **counts)


MUTATIONS = [flip_bits, truncate, overwrite, move_bytes, change_entries, change_list, change_tensors]


def open_model(path):
    """What commands do with a file before the first token."""
    from turnwise.models.checkpoint import Checkpoint
    from turnwise.models.model_folders import find_model_folder
    from turnwise.models.model_kind import check_servable
    from turnwise.text.tokenization.tokenizer import Tokenizer

    folder = find_model_folder(str(path))
    check_servable(folder)
    checkpoint = Checkpoint(folder)
    Tokenizer.load(folder).encode("Hello, world!")
    for name in checkpoint.shapes:
        checkpoint.tensor(name)


def status(field):
    """A size in bytes from the kernel's view of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def raise_timeout(*_):
    raise TimeoutError


def main(seed, count, files):
    from turnwise.core.errors import TurnwiseError

    os.fsync = lambda _: None  # a disk that syncs slowly is not what is measured
    signal.signal(signal.SIGALRM, raise_timeout)
    result = {"opened": 0, "refused": 0, "seconds": 0.0, "bytes": 0, "failures": []}
    contents = [Path(file).read_bytes() for file in files]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TURNWISE_HOME"] = f"{folder}/home"
        path = Path(folder) / "m.gguf"
        for content in contents * 3:  # the libraries allocate what they need once
            path.write_bytes(content)
            open_model(path)
        for number in range(seed, seed + count):
            rng = random.Random(number)
            mutation = rng.choice(MUTATIONS)
            content = mutation(rng, rng.choice(contents))
            path.unlink()
            path.write_bytes(content)
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
            memory, start, failure = status("VmRSS"), time.process_time(), None
            resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + 2 * len(content) + EXTRA_BYTES, -1))
            signal.alarm(HANG_SECONDS)
            try:
                open_model(path)
                result["opened"] += 1
            except TurnwiseError as error:
                result["refused"] += 1
                if "\n" in str(error):
                    failure = f"several lines: {error}"
            except BaseException:
                failure = traceback.format_exc()
            finally:
                signal.alarm(0)
                resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
            seconds = time.process_time() - start
            if seconds > MAX_SECONDS:
                failure = failure or f"it took {seconds:.1f} s"
            result["seconds"] = max(result["seconds"], seconds)
            result["bytes"] = max(result["bytes"], status("VmHWM") - memory)
            if failure:
                result["failures"].append(f"seed {number}, {mutation.__name__}: {failure[-2000:]}")
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
