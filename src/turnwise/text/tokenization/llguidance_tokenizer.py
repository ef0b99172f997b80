"""A tokenizer in the form that llguidance accepts from Python."""

from functools import cached_property

from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import Vocabulary

SENTINEL = "\ufdd2"  # a Unicode noncharacter: no token contains both it and the text after it


class LLGuidanceTokenizer:
    """The argument of llguidance's `TokenizerWrapper`.

    From `tokenizer.json`, llguidance would treat all added tokens in angle brackets as special, including those that
    are text, such as the tags of many tool-call formats.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self.tokens = [vocabulary.token_bytes(id) for id in range(self.size)]
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.eos_token_id = min(tokenizer.stop_ids, default=tokenizer.pad_token_id)
        self.bos_token_id = None
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        """Ids whose bytes are exactly `text`, tokenized as after other text."""
        # Without the sentinel, a tokenizer would treat the text as the start of a text.
        ids, prefix = self._tokenizer.encode(f"{SENTINEL}{text.decode(errors='replace')}"), b""
        for i, id in enumerate(ids):
            prefix += self.tokens[id]
            if prefix.endswith(SENTINEL.encode()):
                if b"".join(self.tokens[id] for id in ids[i + 1 :]) == text:
                    return ids[i + 1 :]
                break
        return self._encode_greedily(text)

    def _encode_greedily(self, text: bytes) -> list[int]:
        """The longest token at every position. Stops where no token matches."""
        ids: list[int] = []
        position = 0
        while position < len(text):
            for end in range(min(len(text), position + self._max_token_bytes), position, -1):
                if (id := self._id_by_bytes.get(text[position:end])) is not None:
                    ids.append(id)
                    position = end
                    break
            else:
                break
        return ids

    @cached_property
    def _id_by_bytes(self) -> dict[bytes, int]:
        special = set(self.special_token_ids)
        return {token: id for id, token in enumerate(self.tokens) if token and id not in special}

    @cached_property
    def _max_token_bytes(self) -> int:
        return max(map(len, self._id_by_bytes), default=0)
