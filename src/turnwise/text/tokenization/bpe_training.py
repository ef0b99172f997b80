"""Training a byte-level BPE tokenizer (Sennrich et al. 2016; byte level as in GPT-2, Radford et al. 2019)."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from turnwise.core.errors import InvalidParameter
from turnwise.text.tokenization.tokenizer import Tokenizer

PAD_TOKEN, END_TOKEN = "<|pad|>", "<|end|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

# One token opens a turn and one closes it: short chats are mostly markers, and every marker costs a step.
DEFAULT_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- set role = 'system' if message['role'] == 'developer' else message['role'] -%}"
    "{{- '<|' + role + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

# Contractions, words with their space, digits one by one (so arithmetic and order numbers have one spelling),
# punctuation runs, line breaks, other spaces.
SPLIT = r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train_bpe(texts: Iterable[str], *, vocab_size: int = 8192, min_frequency: int = 2) -> Tokenizer:
    """Train a byte-level BPE tokenizer with Turnwise's special tokens and chat template.

    Every byte is in the alphabet, so any text in any script round-trips; what was rare in `texts` merely takes more
    tokens.

    Args:
        texts: what to learn merges from; consumed once.
        vocab_size: number of ids, special tokens and the 256 bytes included.
        min_frequency: pairs rarer than this are not merged.

    Raises:
        InvalidParameter: `vocab_size` leaves no room for the bytes and special tokens.
    """
    special = [PAD_TOKEN, END_TOKEN, *ROLE_TOKENS]
    smallest = 256 + len(special)
    if vocab_size < smallest:
        raise InvalidParameter("vocab_size", f"'vocab_size' must be at least {smallest} (bytes and special tokens).")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(
        backend,
        special_tokens_map={"eos_token": END_TOKEN, "pad_token": PAD_TOKEN},
        chat_template=DEFAULT_CHAT_TEMPLATE,
        config={"model_max_length": 2048},
    )
