"""A compiled grammar as a constraint on tokens, with llguidance."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import UserError
from turnwise.text.constraints.json_schema_errors import summarize_error

if TYPE_CHECKING:
    from llguidance import LLMatcher


class GrammarConstraint:
    """A compiled grammar (the `core.inference.Constraint` port)."""

    def __init__(self, matcher: "LLMatcher", vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def start(self) -> "GrammarState":
        """The state at the start of a response."""
        return GrammarState(self._matcher.deep_copy(), self._vocab_size)


class GrammarState:
    """Position of a response in its grammar."""

    name, reason = "grammar", "The format of the answer does not allow it here."

    def __init__(self, matcher: "LLMatcher", vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def token_mask(self) -> NDArray[np.bool_]:
        """Mask of the allowed tokens. Stop tokens are allowed where the response may end. Shape (V,).

        Raises:
            UserError: the grammar exceeds the limits of a step.
        """
        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            reason = summarize_error(matcher_error(self._matcher))
            raise UserError(f"The grammar of the response cannot be continued: {reason}.")
        return np.unpackbits(mask, count=self._vocab_size, bitorder="little").astype(np.bool_)

    def accept(self, token: int) -> None:
        """Append a token."""
        self._matcher.consume_token(token)

    def fork(self) -> "GrammarState":
        """A copy for a second sequence."""
        return GrammarState(self._matcher.deep_copy(), self._vocab_size)

    @property
    def is_complete(self) -> bool:
        """True if no token except a stop token may follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()


def matcher_error(matcher: "LLMatcher") -> str:
    """The error of a matcher, or the reason why it stopped."""
    return str(matcher.get_error()).strip() or str(matcher.stop_reason())
