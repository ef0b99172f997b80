"""How byte-level BPE splits a text before merging, by the name in `tokenizer.ggml.pre`.

A wrong rule gives other token ids without an error, so names that are not listed here are refused. The expressions are
those of the models' published `tokenizer.json`; the names are llama.cpp's (`src/llama-vocab.cpp`). Each expression
splits the pieces that the one before it left.
"""

from dataclasses import dataclass

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
DIGIT = r"\p{N}"


def _cl100k(number: str) -> str:
    """The expression of OpenAI's cl100k and the many derived from it, which differ in the length of numbers."""
    return (
        rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )


def _o200k(number: str, contraction: str) -> str:
    """The expression of OpenAI's o200k, which also splits where lower case is followed by upper case."""
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    first = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{first}{upper}*{lower}+{contraction}|{first}{upper}+{lower}*{contraction}|{number}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """A rule.

    Attributes:
        patterns: regular expressions, applied in this order.
        ignore_merges: a piece that is a token becomes this token without merging.
        adds_bos: whether a text begins with the BOS token, if the file does not say.
        is_nfc: characters are composed first (Unicode NFC), as in the model's own tokenizer. llama.cpp omits this.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    adds_bos: bool = False
    is_nfc: bool = False


_GPT2 = PreTokenizer((GPT2,))
_DIGITS = PreTokenizer((DIGIT, GPT2))
_LLAMA3 = PreTokenizer((_cl100k(r"\p{N}{1,3}"),), ignore_merges=True, adds_bos=True)
_CL100K = PreTokenizer((_cl100k(r"\p{N}{1,3}"),))
_QWEN2 = PreTokenizer((_cl100k(DIGIT),))
_GPT4O = PreTokenizer((_o200k(r"\p{N}{1,3}", f"{CONTRACTION}?"),))
# Letters after punctuation, punctuation with line ends, and Chinese, Japanese kana and numbers by themselves.
_DEEPSEEK3 = PreTokenizer((
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
))  # fmt: skip
PRE_TOKENIZERS = {
    "default": PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4", "mellum", "gigachat"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "midm-2.0"), _LLAMA3),
    **dict.fromkeys(("dbrx", "smaug-bpe"), _CL100K),
    "qwen2": PreTokenizer(_QWEN2.patterns, is_nfc=True),
    **dict.fromkeys(("deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "solar-open", "kormo"), _QWEN2),
    "tekken": PreTokenizer((_o200k(DIGIT, ""),), ignore_merges=True, adds_bos=True),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2"), _GPT4O),
    "seed-coder": PreTokenizer((
        rf"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
    )),
    "deepseek-coder": PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", DIGIT)),
    "deepseek-v3": _DEEPSEEK3,
    "viking": PreTokenizer((" ?[^(\\s|.,!?…。，、।۔،)]+", DIGIT)),
}  # fmt: skip
