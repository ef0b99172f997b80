"""Token ids of texts for an embedding model: prefix, start and end tokens, maximum length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter
from turnwise.text.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class EmbeddingTokenizer:
    """Encodes texts as the model was trained: prefix, then start and end tokens around the ids.

    Attributes:
        tokenizer: the tokenizer of the model.
        max_length: maximum number of ids, start and end tokens included.
        is_lower_cased: texts are converted to lower case first.
        prefixes: text before the inputs of each type.
        default_type: type of inputs without a type; None adds no prefix.
    """

    tokenizer: Tokenizer
    max_length: int
    is_lower_cased: bool = False
    prefixes: Mapping[str, str] = field(default_factory=dict)
    default_type: str | None = None

    def max_ids(self, truncate_prompt_tokens: int | None) -> int:
        """Maximum number of ids with this `truncate_prompt_tokens`; -1 and None are the maximum of the model.

        Raises:
            InvalidParameter: it is larger than the maximum, or leaves no space beside the start and end tokens.
        """
        if truncate_prompt_tokens is None or truncate_prompt_tokens == -1:
            return self.max_length
        minimum = len(self.tokenizer.added_ids[0]) + len(self.tokenizer.added_ids[1]) + 1
        if not minimum <= truncate_prompt_tokens <= self.max_length:
            raise InvalidParameter(
                "truncate_prompt_tokens",
                f"'truncate_prompt_tokens' must be -1 or from {minimum} to {self.max_length} with this model.",
            )
        return truncate_prompt_tokens

    def encode(
        self, prompt: str | Sequence[int], input_type: str | None = None, truncate_prompt_tokens: int | None = None
    ) -> tuple[list[int], bool]:
        """Ids of an input, and whether it was truncated.

        Token ids get start and end tokens unless they have them, and no prefix.

        Args:
            prompt: a text, or token ids.
            input_type: "query", "passage" or "document", which selects the prefix.
            truncate_prompt_tokens: as for `max_ids`; None: an input that is too long is an error.

        Raises:
            ContextLengthExceeded: the input is too long and is not to be truncated.
        """
        before, after = self.tokenizer.added_ids
        if isinstance(prompt, str):
            ids = self.tokenizer.encode(self._with_prefix(prompt, input_type))
        else:
            ids = _without_added_ids(list(prompt), before, after)
        space = self.max_ids(truncate_prompt_tokens) - len(before) - len(after)
        is_too_long = len(ids) > space
        if is_too_long and truncate_prompt_tokens is None:
            num_ids = len(before) + len(ids) + len(after)
            error = ContextLengthExceeded.for_prompt(self.max_length, num_ids, param="input")
            raise ContextLengthExceeded(f"{error} 'truncate_prompt_tokens': -1 shortens long inputs.", "input")
        return [*before, *ids[:space], *after], is_too_long

    def _with_prefix(self, text: str, input_type: str | None) -> str:
        prefix = self.prefixes.get(_prefix_name(input_type) or self.default_type or "", "")
        return (prefix + text).lower() if self.is_lower_cased else prefix + text


def _prefix_name(input_type: str | None) -> str | None:
    return "passage" if input_type == "document" else input_type


def _without_added_ids(ids: list[int], before: Sequence[int], after: Sequence[int]) -> list[int]:
    """The ids between the start and the end tokens, if the ids have them."""
    num_added = len(before) + len(after)
    inner = ids[len(before) : len(ids) - len(after)]
    return inner if len(ids) >= num_added > 0 and [*before, *inner, *after] == ids else ids
