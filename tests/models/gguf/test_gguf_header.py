"""The header: what is read, how fast, and one refusal per fault."""

import struct
import sys
import time

import pytest
from gguf_files import ARRAY, FLOAT32, STRING, UINT32, raw_gguf, text
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import UserError
from turnwise.models.gguf.header_reader import read_header

U64 = struct.Struct("<Q").pack
U32 = struct.Struct("<I").pack
ARCHITECTURE = ("general.architecture", STRING, text("llama"))
HUGE = 2**63


def strings(values):
    return U32(STRING) + U64(len(values)) + b"".join(text(value) for value in values)


@pytest.fixture
def read(tmp_path):
    """`read(bytes)`: the header of a file with these bytes."""

    def read_bytes(content):
        (tmp_path / "m.gguf").write_bytes(content)
        return read_header(tmp_path / "m.gguf")

    return read_bytes


def test_values_of_every_type_are_read(read):
    values = {0: ("<B", 200), 1: ("<b", -5), 2: ("<H", 60_000), 3: ("<h", -9), 4: ("<I", 2**32 - 1), 5: ("<i", -7),
              6: ("<f", 0.5), 7: ("<B", 1), 10: ("<Q", 2**64 - 1), 11: ("<q", -3), 12: ("<d", 0.1)}  # fmt: skip
    entries = [(f"k{kind}", kind, struct.pack(code, value)) for kind, (code, value) in values.items()]
    arrays = [(f"a{kind}", ARRAY, U32(kind) + U64(2) + struct.pack(code, value) * 2) for kind, (code, value) in
              values.items()]  # fmt: skip
    header = read(raw_gguf([*entries, *arrays, ("text", STRING, text("é"))]))
    assert header.metadata["text"] == "é"
    assert header.metadata["k7"] is True
    for kind, (_, value) in values.items():
        assert header.metadata[f"k{kind}"] == value
        assert header.metadata[f"a{kind}"].decode() == [value, value]


@pytest.mark.costly
@given(st.lists(st.text()))
def test_arrays_of_strings_are_read(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("strings") / "m.gguf"
    path.write_bytes(raw_gguf([("tokens", ARRAY, strings(values)), ("after", UINT32, U32(7))]))
    header = read_header(path)
    assert header.metadata["tokens"].decode() == values
    assert header.metadata["after"] == 7


def test_a_header_longer_than_one_read_is_read(read):
    values = [f"token {number}" * 10 for number in range(40_000)]
    header = read(raw_gguf([("tokens", ARRAY, strings(values)), ARCHITECTURE]))
    assert header.metadata["tokens"].decode() == values
    assert header.metadata["general.architecture"] == "llama"


def test_the_header_of_a_large_vocabulary_is_read_in_less_than_a_second(read):
    values = [f"token{number}" for number in range(150_000)]
    content = raw_gguf([("tokens", ARRAY, strings(values)), ("merges", ARRAY, strings(values))], data=bytes(10**6))
    start = time.process_time()
    read(content)
    assert time.process_time() - start < 1


def test_tensors_are_placed_behind_the_header(read):
    tensors = [("a", (32, 2), 0, 0), ("b", (64, 3), 8, 256)]
    content = raw_gguf([("general.alignment", UINT32, U32(64))], tensors, alignment=64, data=bytes(256 + 3 * 68))
    header = read(content)
    a, b = header.tensors["a"], header.tensors["b"]
    assert (a.type_name, a.shape, a.num_bytes) == ("F32", (2, 32), 256)
    assert (b.type_name, b.shape, b.num_bytes) == ("Q8_0", (3, 64), 3 * 68)
    assert b.start == len(content) - 3 * 68


FAULTS = {
    "does not begin with 'GGUF'": b"GGML" + bytes(60),
    "is a GGUF file of version 1;": raw_gguf(version=1),
    "is a GGUF file of version 4;": raw_gguf(version=4),
    "is a big-endian GGUF file": b"GGUF" + struct.pack(">I", 3) + bytes(16),
    "its magic lies beyond its end": b"GG",
    "the number of tensors lies beyond its end": raw_gguf()[:12],
    "tensors do not fit into it": raw_gguf(num_tensors=1000),
    "it has 9,223,372,036,854,775,808 tensors; at most": raw_gguf(num_tensors=HUGE),
    "metadata entries do not fit into it": raw_gguf(num_entries=1000),
    "it has 9,223,372,036,854,775,808 metadata entries; at most": raw_gguf(num_entries=HUGE),
    "its key 'k' occurs twice": raw_gguf([("k", UINT32, U32(1))] * 2),
    "a key has 70,000 bytes": raw_gguf([("k" * 70_000, UINT32, U32(1))]),
    "a key is not UTF-8": raw_gguf([(b"\xff", UINT32, U32(1))]),
    "the value of 'k' is not UTF-8": raw_gguf([("k", STRING, text(b"\xff"))]),
    "the value of 'k' has 9,223,372,036,854,775,808 bytes": raw_gguf([("k", STRING, U64(HUGE))]),
    "the value of 'k' lies beyond its end": raw_gguf([("k", STRING, U64(1000))]),
    "the value of 'k' has the unknown type 99": raw_gguf([("k", 99, U32(1))]),
    "the value of 'k' is an array of arrays": raw_gguf([("k", ARRAY, U32(ARRAY) + U64(1) + bytes(40))]),
    "the value of 'k' is an array of the unknown type 77": raw_gguf([("k", ARRAY, U32(77) + U64(1) + bytes(40))]),
    "values of 'k'; at most": raw_gguf([("k", ARRAY, U32(FLOAT32) + U64(HUGE))]),
    "1,000,000 values of 'k' do not fit into it": raw_gguf([("k", ARRAY, U32(FLOAT32) + U64(10**6))]),
    "a value of 'k' lies beyond its end": raw_gguf([("k", ARRAY, U32(STRING) + U64(2) + U64(10**9) + bytes(8))]),
    "its tensor 'a' occurs twice": raw_gguf([], [("a", (32,), 0, 0), ("a", (32,), 0, 128)], data=bytes(256)),
    "the name of a tensor has 65 bytes": raw_gguf([], [("a" * 65, (32,), 0, 0)], data=bytes(256)),
    "its tensor 'a' has 0 dimensions": raw_gguf([], [("a", (), 0, 0)], data=bytes(64)),
    "its tensor 'a' has 5 dimensions": raw_gguf([], [("a", (1,) * 5, 0, 0)], data=bytes(64)),
    "its tensor 'a' has no elements": raw_gguf([], [("a", (32, 0), 0, 0)], data=bytes(64)),
    "its tensor 'a' has the unknown type 4": raw_gguf([], [("a", (32,), 4, 0)], data=bytes(256)),
    "its tensor 'a' has rows of 33, which Q8_0 cannot hold": raw_gguf([], [("a", (33, 2), 8, 0)], data=bytes(256)),
    "its tensor 'a' lies beyond its end": raw_gguf([], [("a", (32,), 0, 0)], data=bytes(64)),
    "its tensor 'b' lies beyond its end": raw_gguf([], [("b", (2**62, 4), 0, 0)], data=bytes(64)),
    "its tensor 'c' lies beyond its end": raw_gguf([], [("c", (8,), 0, 2**64 - 32)], data=bytes(64)),
    "the offset of its tensor 'a' is not a multiple of 32": raw_gguf([], [("a", (8,), 0, 8)], data=bytes(64)),
    "its tensors 'a' and 'b' overlap": raw_gguf([], [("a", (16,), 0, 0), ("b", (8,), 0, 32)], data=bytes(128)),
    "its alignment, 48, is not a power of two": raw_gguf([("general.alignment", UINT32, U32(48))]),
    "its alignment, 0, is not a power of two": raw_gguf([("general.alignment", UINT32, U32(0))]),
    "its alignment, 'x', is not a power of two": raw_gguf([("general.alignment", STRING, text("x"))]),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_is_named_in_one_sentence(read, tmp_path, message):
    with pytest.raises(UserError) as caught:
        read(FAULTS[message])
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "m.gguf"))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.gguf cannot be read"):
        read_header(tmp_path / "gone.gguf")


def test_a_header_needs_no_torch(tmp_path):
    import subprocess

    (tmp_path / "m.gguf").write_bytes(raw_gguf([ARCHITECTURE]))
    program = (
        "import sys; from pathlib import Path; from turnwise.models.gguf.header_reader import read_header; "
        "read_header(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", program, tmp_path / "m.gguf"]
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == "False\n"
