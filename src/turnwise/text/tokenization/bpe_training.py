"""Trains byte-level BPE tokenizers (Sennrich et al. 2016; byte level as in GPT-2, Radford et al. 2019)."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from turnwise.core.errors import InvalidParameter
from turnwise.text.tokenization.text_start import BPE_PATTERN
from turnwise.text.tokenization.tokenizer import Tokenizer

PAD_TOKEN, END_TOKEN = "<|pad|>", "<|end|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

# One token starts a turn and one ends it: in short chats, markers are a large share of the tokens.
DEFAULT_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- set role = 'system' if message['role'] == 'developer' else message['role'] -%}"
    "{{- '<|' + role + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train_bpe(texts: Iterable[str], *, vocab_size: int = 8192, min_frequency: int = 2) -> Tokenizer:
    """Train a byte-level BPE tokenizer with Turnwise's special tokens and chat template.

    Every byte is in the alphabet, so every text in every script can be encoded and decoded without loss. Text that is
    rare in `texts` takes more tokens.

    Args:
        texts: training data; consumed once.
        vocab_size: maximum number of ids, including special tokens and the 256 bytes.
        min_frequency: minimum frequency of a pair to be merged.

    Raises:
        InvalidParameter: `vocab_size` is less than the number of bytes and special tokens.
    """
    special = [PAD_TOKEN, END_TOKEN, *ROLE_TOKENS]
    minimum = 256 + len(special)
    if vocab_size < minimum:
        raise InvalidParameter("vocab_size", f"'vocab_size' must be at least {minimum} (bytes and special tokens).")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(BPE_PATTERN), "isolated"),
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
