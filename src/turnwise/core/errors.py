"""The exception tree, with the HTTP status and exit code of each class.

::

    TurnwiseError                     500  exit 1   an expected failure with an explanation
    ├── UserError (ValueError)        400  exit 2   the caller can fix it; the message says how
    │   ├── InvalidParameter          400  exit 2   a field, flag or recipe key is unknown or out of range
    │   ├── InvalidData               400  exit 2   a data file or row is malformed
    │   ├── TemplateError             400  exit 2   the chat template cannot render these messages
    │   ├── ContextLengthExceeded     400  exit 2   prompt plus response exceed the context
    │   └── ModelNotFound             404  exit 2   no such model, folder or served name
    ├── Forbidden                     403  exit 1   the key may not do this
    ├── NotFound                      404  exit 1   a conversation or completion that does not exist
    ├── HandoffConflict               409  exit 1   somebody else speaks with the customer, or the hand-off has ended
    ├── VersionConflict               409  exit 1   a version of a model cannot change to this state
    ├── RunConflict                   409  exit 1   a training or evaluation is not in the state for this
    ├── LastAdminKey                  409  exit 1   over HTTP, the last key of an admin is not revoked
    ├── SaveFailed                    500  exit 1   a write failed; the old content is unchanged
    └── Unavailable                   503  exit 1   loading, draining or full: try again later
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TurnwiseError(Exception):
    """An expected failure that a sentence explains."""

    http_status = 500
    http_type = "server_error"
    code: str | None = None
    exit_code = 1

    @property
    def param(self) -> str | None:
        """Name of the invalid field, if there is one."""
        return None


class UserError(TurnwiseError, ValueError):
    """The caller can fix this; the message says how."""

    http_status = 400
    http_type = "invalid_request_error"
    exit_code = 2


class InvalidParameter(UserError):
    """A field, flag or recipe key is unknown, rejected or out of range."""

    code = "invalid_parameter"

    def __init__(self, param: str, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self._param = param
        if code is not None:
            self.code = code

    @property
    def param(self) -> str | None:
        """Name of the invalid field."""
        return self._param


class InvalidData(UserError):
    """A data file or a row in it is malformed."""

    code = "invalid_data"


class TemplateError(UserError):
    """The chat template cannot render these messages."""

    code = "template_error"

    @property
    def param(self) -> str | None:
        """Always "messages"."""
        return "messages"


class ContextLengthExceeded(UserError):
    """The prompt, or the prompt plus the requested response, exceeds the context of the model."""

    code = "context_length_exceeded"

    def __init__(self, message: str, param: str = "messages") -> None:
        """Create the error; `param` is the field that is too long."""
        super().__init__(message)
        self._param = param

    @classmethod
    def for_prompt(
        cls, context: int, prompt: int | str, answer: int = 0, param: str = "messages", *, beams: int = 1
    ) -> "ContextLengthExceeded":
        """The error with OpenAI's wording, which clients parse.

        litellm and pydantic-ai look for "maximum context length", LangChain for the code in the text of the error.

        Args:
            context: tokens that the model's context has; of a search, that the cache has for all beams.
            prompt: tokens of the prompt, such as 9000 or "at least 9000".
            answer: tokens of the answer that the request needs; 0 where the prompt alone is too long.
            param: the field that is too long.
            beams: number of beams of a beam search, each with a response of its own.
        """
        if param == "messages":
            phrases = f"your messages resulted in {prompt} tokens", f"{prompt} in the messages", "messages"
        else:
            phrases = f"your {param} resulted in {prompt} tokens", f"{prompt} in your {param}", param
        alone, prompt_part, noun = phrases
        total = f"{prompt + beams * answer} tokens" if isinstance(prompt, int) else "more"
        per_beam = f" of each of {beams} beams" if beams > 1 else ""
        used = f"you requested {total} ({prompt_part}, {answer} in the completion{per_beam})" if answer else alone
        limit = f"{context} tokens{f' over {beams} beams' if beams > 1 else ''}"
        shorter = f"Please reduce the length of the {noun}{' or the completion' if answer else ''}."
        return cls(f"This model's maximum context length is {limit}. However, {used}. {shorter} ({cls.code})", param)

    @property
    def param(self) -> str | None:
        """Name of the field that is too long."""
        return self._param


class ModelNotFound(UserError):
    """There is no such model folder or served model."""

    http_status = 404
    code = "model_not_found"

    @property
    def param(self) -> str | None:
        """Always "model"."""
        return "model"


class NotFound(TurnwiseError):
    """A conversation or completion that does not exist."""

    http_status = 404
    http_type = "invalid_request_error"
    code = "not_found"


class Forbidden(TurnwiseError):
    """The caller may see this, and may not change it."""

    http_status = 403
    http_type = "invalid_request_error"
    code = "forbidden"


class HandoffConflict(TurnwiseError):
    """An event that is not possible in the state of a hand-off. Nothing was changed."""

    http_status = 409
    http_type = "invalid_request_error"
    code = "handoff_conflict"


class VersionConflict(TurnwiseError):
    """A transition that is not possible in the state of a model version, or not to its actor. Nothing was changed."""

    http_status = 409
    http_type = "invalid_request_error"
    code = "version_conflict"


class RunConflict(TurnwiseError):
    """Something that is not possible in the state of a training or evaluation. Nothing was changed."""

    http_status = 409
    http_type = "invalid_request_error"
    code = "run_conflict"


class LastAdminKey(TurnwiseError):
    """Without this key nobody could manage the server over HTTP. Nothing was changed."""

    http_status = 409
    http_type = "invalid_request_error"
    code = "last_admin_key"


class SaveFailed(TurnwiseError):
    """A write failed, for example because the disk is full. The old content is unchanged."""


class Unavailable(TurnwiseError):
    """The service is loading, draining or full. The same request may succeed later."""

    http_status = 503
    http_type = "server_error"
    code = "unavailable"


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A hint for an error message: the closest candidate, or all candidates if none is close."""
    candidates = sorted(candidates)
    matches = get_close_matches(word, candidates, n=1, cutoff=0.6)
    if matches:
        return f"did you mean '{matches[0]}'?"
    return f"known: {', '.join(candidates)}"
