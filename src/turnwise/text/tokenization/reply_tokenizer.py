"""Token ids of a prompt with a reply, as a discriminator reads them in training, evaluation and serving.

A discriminator scores the text of a reply, encoded anew, and not the ids that a model has sampled: they need not be the
encoding of their text, and replies of people always are, so the ids alone would tell the two apart.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnwise.text.tokenization.tokenizer import Tokenizer

PROMPT_TOKENIZER = "prompt_tokenizer"  # folder in that of a discriminator with a vocabulary of its own
MIN_CONTEXT = 32  # tokens of the prompt that a long reply leaves


@dataclass(frozen=True, slots=True)
class ReplyTokenizer:
    """Encodes the end of a prompt and a reply for a discriminator.

    A copy of the generator reads both in one row, as the generator does. A pre-trained encoder reads the text of the
    prompt, with line breaks for special tokens, then the reply, each closed by the encoder's end tokens.

    Attributes:
        tokenizer: the tokenizer of the discriminator.
        max_tokens: maximum number of ids, start and end tokens included.
        prompt_tokenizer: the tokenizer of the generator, which rendered the prompts; None: it is `tokenizer`.
    """

    tokenizer: Tokenizer
    max_tokens: int
    prompt_tokenizer: Tokenizer | None = None

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer, max_tokens: int) -> "ReplyTokenizer":
        """Open that of a saved discriminator.

        Args:
            folder: folder of the discriminator.
            tokenizer: its tokenizer.
            max_tokens: maximum number of ids.

        Raises:
            UserError: the files of the generator's tokenizer are missing or damaged.
        """
        prompt_folder = folder / PROMPT_TOKENIZER
        return cls(tokenizer, max_tokens, Tokenizer.load(prompt_folder) if prompt_folder.is_dir() else None)

    @property
    def generator_tokenizer(self) -> Tokenizer:
        """The tokenizer whose ids `encode_prompt` takes."""
        return self.tokenizer if self.prompt_tokenizer is None else self.prompt_tokenizer

    def encode_prompt(self, prompt_ids: Sequence[int]) -> list[int]:
        """The end of a prompt for `encode`, from its ids in the generator's vocabulary."""
        if self.prompt_tokenizer is None:
            return list(prompt_ids[-self.max_tokens :])
        return self.tokenizer.encode(_plain_text(self.prompt_tokenizer, prompt_ids))[-self.max_tokens :]

    def encode(self, prompt: Sequence[int], reply: str) -> list[int]:
        """Ids of a prompt, as `encode_prompt` returns it, with a reply. A long reply is cut at its end."""
        before, after = ((), ()) if self.prompt_tokenizer is None else self.tokenizer.added_ids
        size = self.max_tokens - len(before) - 2 * len(after)
        max_reply = max(size // 2, size - min(len(prompt), MIN_CONTEXT))
        is_separate = self.prompt_tokenizer is None or bool(after)
        text = reply.strip() if is_separate else f"\n{reply.strip()}"
        reply_ids = self.tokenizer.encode(text)[:max_reply]
        context = prompt[max(0, len(prompt) + len(reply_ids) - size) :]
        ids = [*before, *context, *after, *reply_ids, *after]
        return ids or [self.tokenizer.pad_token_id]


def _plain_text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Text of a prompt, with line breaks for its special tokens: in many templates nothing else separates turns."""
    groups = itertools.groupby(ids, key=lambda id: id in tokenizer.special_ids)
    return "\n".join(tokenizer.decode(list(group)).strip() for is_special, group in groups if not is_special)
