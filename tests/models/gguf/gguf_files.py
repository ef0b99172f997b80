"""GGUF files for tests: `write_gguf` converts a Hugging Face folder with the gguf package, `raw_gguf` joins bytes."""

import json
import struct

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES
from safetensors.numpy import load_file

NEIGHBOURS = ("llama", "mistral", "smollm3")  # families whose queries and keys llama.cpp reorders
ALPHABET = [chr(code) for code in range(33, 127)]


def write_gguf(path, folder, *, quantize=None, metadata=None, vocabulary=None):
    """Write a file with the weights of a folder of a known family.

    Args:
        path: the new file.
        folder: config.json and model.safetensors.
        quantize: `(GGUF name, matrix) -> (stored array, format or None)`; default: float32.
        metadata: `{key: (value, GGUFValueType)}` to add or, with None, to leave out.
        vocabulary: function that adds the tokenizer to a writer; default: printable characters, no merges.
    """
    config = json.loads((folder / "config.json").read_text())
    family = config["model_type"]
    arch = "llama" if family == "mistral" else family
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("model")
    tensors = load_file(folder / "model.safetensors")
    for key, value in (_gpt2_metadata(config) if family == "gpt2" else _llama_metadata(config, writer)).items():
        _add(writer, key.replace("{arch}", arch), value)
    (vocabulary or add_characters)(writer)
    for key, value in (metadata or {}).items():
        if value is None:
            del writer.kv_data[0][key]
        else:
            writer.kv_data[0].pop(key, None)
            writer.add_key_value(key, *value)
    num_layers = config.get("num_hidden_layers") or config["n_layer"]
    names = gguf.get_tensor_name_map({name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[arch], num_layers)
    for hf_name, tensor in tensors.items():
        module, _, suffix = hf_name.rpartition(".")
        name = f"{names.get_name(module)}.{suffix}"
        array = to_gguf_layout(family, config, hf_name, tensor)
        stored, kind = (array, None) if quantize is None or array.ndim < 2 else quantize(name, array)
        writer.add_tensor(name, stored, raw_dtype=kind)
    if "rope_factors" in config:
        writer.add_tensor("rope_freqs.weight", np.array(config["rope_factors"], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def to_gguf_layout(family, config, hf_name, tensor):
    """A tensor of a Hugging Face checkpoint in the layout of the file."""
    if family == "gpt2" and tensor.ndim == 2 and ".h." in hf_name:
        return np.ascontiguousarray(tensor.T)
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(hf_name.split(".")[-2])
    if family not in NEIGHBOURS or heads is None:
        return tensor
    return np.ascontiguousarray(
        tensor.reshape(config[heads], 2, -1, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
    )


def _llama_metadata(config, writer):
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    values = {
        "{arch}.block_count": config["num_hidden_layers"],
        "{arch}.context_length": config["max_position_embeddings"],
        "{arch}.embedding_length": config["hidden_size"],
        "{arch}.feed_forward_length": config["intermediate_size"],
        "{arch}.attention.head_count": heads,
        "{arch}.attention.head_count_kv": config["num_key_value_heads"],
        "{arch}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "{arch}.attention.key_length": head_dim,
        "{arch}.attention.value_length": head_dim,
        "{arch}.rope.dimension_count": head_dim,
        "{arch}.rope.freq_base": float(rope.get("rope_theta", 10_000.0)),
    }
    if rope.get("rope_type") == "linear":
        values |= {"{arch}.rope.scaling.type": "linear", "{arch}.rope.scaling.factor": rope["factor"]}
    if config.get("sliding_window"):
        values["{arch}.attention.sliding_window"] = config["sliding_window"]
        if config.get("layer_types"):
            is_windowed = [layer_type == "sliding_attention" for layer_type in config["layer_types"]]
            values["{arch}.attention.sliding_window_pattern"] = is_windowed
    return values


def _gpt2_metadata(config):
    return {
        "{arch}.block_count": config["n_layer"],
        "{arch}.context_length": config["n_positions"],
        "{arch}.embedding_length": config["n_embd"],
        "{arch}.feed_forward_length": config.get("n_inner") or 4 * config["n_embd"],
        "{arch}.attention.head_count": config["n_head"],
        "{arch}.attention.layer_norm_epsilon": config["layer_norm_epsilon"],
    }


def _add(writer, key, value):
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def add_characters(writer):
    """Printable ASCII characters, an end token and one merge."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*ALPHABET, "ab", "<|end|>"])
    writer.add_token_types([1] * 95 + [3])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(95)


def random_blocks(kind, rows, inputs, seed=0):
    """Random blocks of a format; their scales are finite and about 0.02."""
    rng = np.random.default_rng(seed)
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows, inputs // block_size, block_bytes), dtype=np.uint8)
    scale = np.frombuffer(np.float16(0.02).tobytes(), dtype=np.uint8)
    for offset in SCALE_OFFSETS.get(kind.name, ()):
        blocks[:, :, offset : offset + 2] = scale
    if kind.name == "IQ1_M":  # the scale is in the upper bits of the last eight bytes
        words = np.frombuffer(np.array([0x2000, 0x5000, 0x1000, 0x2000], dtype="<u2").tobytes(), dtype=np.uint8)
        blocks[:, :, -8:] = words
    if kind.name in ("MXFP4", "NVFP4"):
        blocks[:, :, : 1 if kind.name == "MXFP4" else 4] = 0x77 - (0x40 if kind.name == "NVFP4" else 0)
    return blocks.reshape(rows, -1)


SCALE_OFFSETS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "TQ1_0": (52,), "TQ2_0": (64,), "IQ1_S": (0,), "IQ2_XXS": (0,),
    "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,),
}  # fmt: skip

UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9


def text(value):
    """A string of the format."""
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def raw_gguf(entries=(), tensors=(), *, version=3, num_entries=None, num_tensors=None, data=b"", alignment=32):
    """The bytes of a file.

    Args:
        entries: `(key, type, bytes of the value)`.
        tensors: `(name, dimensions innermost first, type, offset)`.
        version: of the format.
        num_entries: the count in the header, if it should be wrong; `num_tensors` likewise.
        data: of the tensors.
        alignment: of the data.
    """
    header = b"GGUF" + struct.pack("<I", version)
    header += struct.pack("<Q", len(tensors) if num_tensors is None else num_tensors)
    header += struct.pack("<Q", len(entries) if num_entries is None else num_entries)
    for key, kind, value in entries:
        header += text(key) + struct.pack("<I", kind) + value
    for name, dimensions, kind, offset in tensors:
        header += text(name) + struct.pack("<I", len(dimensions))
        header += struct.pack(f"<{len(dimensions)}Q", *dimensions) + struct.pack("<IQ", kind, offset)
    return header + bytes(-len(header) % alignment) + data


SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def parse_gguf(content):
    """`(entries, tensors, data)` of a valid file, as `raw_gguf` takes them."""
    position = 24

    def number(size):
        nonlocal position
        position += size
        return int.from_bytes(content[position - size : position], "little")

    def string():
        nonlocal position
        length = number(8)
        position += length
        return content[position - length : position]

    def skip(kind):
        nonlocal position
        if kind == STRING:
            string()
        elif kind == ARRAY:
            item, count = number(4), number(8)
            for _ in range(count):
                skip(item)
        else:
            position += SIZES[kind]

    num_tensors, num_entries = (int.from_bytes(content[start : start + 8], "little") for start in (8, 16))
    entries, tensors = [], []
    for _ in range(num_entries):
        key, kind, start = string(), number(4), position
        skip(kind)
        entries.append((key, kind, content[start:position]))
    for _ in range(num_tensors):
        name = string()
        dimensions = tuple(number(8) for _ in range(number(4)))
        tensors.append((name, dimensions, number(4), number(8)))
    return entries, tensors, content[position + -position % 32 :]
