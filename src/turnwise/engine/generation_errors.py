"""Errors that end a single request while the others continue."""

from turnwise.core.errors import TurnwiseError, UserError


class GenerationFailed(TurnwiseError):
    """An unexpected exception, which the engine has logged."""

    def __init__(self) -> None:
        super().__init__("The model failed while generating.")


class NonFiniteLogits(TurnwiseError):
    """The logits of a sequence have NaN or infinite values."""

    def __init__(self) -> None:
        super().__init__("The model produced non-finite logits. Load it with --dtype bfloat16 or float32.")


class NoTokenAllowed(UserError):
    """The constraints of a request exclude all tokens."""

    def __init__(self) -> None:
        super().__init__("The constraints of the request contradict each other: no token is allowed next.")
