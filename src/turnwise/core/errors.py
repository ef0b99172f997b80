"""The one tree of errors, and what each means to a person, to HTTP and to a shell.

::

    TurnwiseError                     500  exit 1   something went wrong that we can explain
    ├── UserError (ValueError)        400  exit 2   the person can mend it; the message says how
    │   ├── InvalidParameter          400  exit 2   a field, flag or recipe key is unknown or out of range
    │   ├── InvalidData               400  exit 2   a data file or row is not what it should be
    │   ├── TemplateError             400  exit 2   the chat template cannot render these messages
    │   ├── ContextLengthExceeded     400  exit 2   prompt plus answer do not fit the model
    │   └── ModelNotFound             404  exit 2   no such model, folder or served name
    ├── NotFound                      404  exit 1   a conversation or completion that does not exist
    ├── SaveFailed                    500  exit 1   the disk said no; what was there before is still there
    └── Unavailable                   503  exit 1   loading, draining or full: try again later
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TurnwiseError(Exception):
    """Something went wrong that we can explain in a sentence."""

    http_status = 500
    http_type = "server_error"
    code: str | None = None
    exit_code = 1

    @property
    def param(self) -> str | None:
        """The field at fault, where there is one."""
        return None


class UserError(TurnwiseError, ValueError):
    """The person who asked can mend this; the message says how."""

    http_status = 400
    http_type = "invalid_request_error"
    exit_code = 2


class InvalidParameter(UserError):
    """A field, flag or recipe key is unknown, refused or out of range."""

    code = "invalid_parameter"

    def __init__(self, param: str, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self._param = param
        if code is not None:
            self.code = code

    @property
    def param(self) -> str | None:
        """The field at fault."""
        return self._param


class InvalidData(UserError):
    """A data file or a row in it is not what it should be."""

    code = "invalid_data"


class TemplateError(UserError):
    """The chat template cannot render these messages."""

    code = "template_error"

    @property
    def param(self) -> str | None:
        """Templates only ever fail on the messages."""
        return "messages"


class ContextLengthExceeded(UserError):
    """The prompt, or the prompt plus the answer asked for, does not fit the model."""

    code = "context_length_exceeded"

    def __init__(self, message: str, param: str = "messages") -> None:
        """Name the field that is too long."""
        super().__init__(message)
        self._param = param

    @classmethod
    def for_prompt(
        cls, context: int, prompt: int | str, answer: int = 0, param: str = "messages", *, beams: int = 1
    ) -> "ContextLengthExceeded":
        """The error in the published words, by which clients recognise it.

        litellm and pydantic-ai look for "maximum context length", LangChain for the code in the text of the error.

        Args:
            context: tokens that the model's context has; of a search, that the cache has for all beams.
            prompt: tokens of the prompt, such as 9000 or "at least 9000".
            answer: tokens of the answer that the request needs; 0 where the prompt alone is too long.
            param: the field that is too long.
            beams: that a search keeps, each with an answer of its own.
        """
        if param == "messages":
            words = f"your messages resulted in {prompt} tokens", f"{prompt} in the messages", "messages"
        else:
            words = f"your {param} resulted in {prompt} tokens", f"{prompt} in your {param}", param
        alone, beside, noun = words
        total = f"{prompt + beams * answer} tokens" if isinstance(prompt, int) else "more"
        each = f" of each of {beams} beams" if beams > 1 else ""
        used = f"you requested {total} ({beside}, {answer} in the completion{each})" if answer else alone
        limit = f"{context} tokens{f' over {beams} beams' if beams > 1 else ''}"
        shorter = f"Please reduce the length of the {noun}{' or the completion' if answer else ''}."
        return cls(f"This model's maximum context length is {limit}. However, {used}. {shorter} ({cls.code})", param)

    @property
    def param(self) -> str | None:
        """The field that is too long."""
        return self._param


class ModelNotFound(UserError):
    """No such model folder, or no such name among the served models."""

    http_status = 404
    code = "model_not_found"

    @property
    def param(self) -> str | None:
        """The field that named it."""
        return "model"


class NotFound(TurnwiseError):
    """A conversation or completion that does not exist."""

    http_status = 404
    http_type = "invalid_request_error"
    code = "not_found"


class SaveFailed(TurnwiseError):
    """The disk said no. Whatever was there before is still there."""


class Unavailable(TurnwiseError):
    """Loading, draining or full: the same request may succeed later."""

    http_status = 503
    http_type = "server_error"
    code = "unavailable"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A half-sentence naming the nearest known word, or what there is when nothing is near."""
    known = sorted(known)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(known)}"
