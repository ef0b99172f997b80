"""Tokenizers of the published kinds, made on the spot."""

import json

import pytest
import tokenizers
from template_cases import TEMPLATES
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from turnwise.text.tokenization.tokenizer import Tokenizer

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def byte_level(corpus, special, split=None):
    """GPT-2's own splitting, or Llama 3's; with the post-processor that leaves spaces out of offsets."""
    backend = tokenizers.Tokenizer(models.BPE())
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    parts = [] if split is None else [pre_tokenizers.Split(tokenizers.Regex(split), "isolated")]
    backend.pre_tokenizer = pre_tokenizers.Sequence([*parts, plain])
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*corpus, "\n\n", "\n\n\n", "a\n\nb"], trainer)
    return backend


def sentencepiece(corpus, special, *, legacy):
    """Llama 2's kind: words begin with a low line, unknown characters are spelled in bytes."""
    learned = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False, min_frequency=3)
    learned.train_from_iterator(
        [text for text in corpus if text.isascii()] + ["Hello, how are you? [INST]"] * 5, trainer
    )
    model = json.loads(learned.to_str())["model"]
    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    names += [token for token in model["vocab"] if token != "<unk>"]
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(names)},
            merges=[tuple(pair) for pair in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if legacy:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(special)
    return backend


def build(name, corpus):
    """The tokenizer of one case of `template_cases`, or a SentencePiece-like one."""
    if name in TEMPLATES:
        case = TEMPLATES[name]
        split = LLAMA3_SPLIT if case.llama3_split else None
        return Tokenizer(byte_level(corpus, case.special, split), dict(case.named), case.template)
    template = TEMPLATES["mistral"].template
    backend = sentencepiece(corpus, ["<s>", "</s>"], legacy=name == "sentencepiece-legacy")
    return Tokenizer(backend, {"bos_token": "<s>", "eos_token": "</s>"}, template)


@pytest.fixture(scope="session")
def tokenizer_of(corpus, tokenizer):
    """`tokenizer_of(name)`: each built once."""
    made = {"turnwise": tokenizer}

    def get(name):
        if name not in made:
            made[name] = build(name, corpus)
        return made[name]

    return get


@pytest.fixture(scope="session")
def made_tokenizer(corpus):
    """`made_tokenizer(special)`: byte-level, with these special tokens; Llama 3's come with its splitting."""
    return lambda special: byte_level(corpus, special, LLAMA3_SPLIT if "<|eot_id|>" in special else None)
