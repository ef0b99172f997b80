"""Bodies of `/v1/keys` and `/v1/usage`."""

import datetime
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr

from turnwise.core.access import KeyRole
from turnwise.core.api_keys import DEFAULT_KEY_CONSENT, ApiKey
from turnwise.core.collected_answers import Consent
from turnwise.core.key_usage import UsageCounts, UsageDay
from turnwise.server.schema.request_field import RequestBody

MAX_LIMIT = 1_000_000
Limit = Annotated[StrictInt | None, Field(ge=1, le=MAX_LIMIT)]


class KeyRequest(RequestBody):
    """A new key."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=64, description="Unique name, for lists and logs.")]
    role: Annotated[KeyRole, Field(description="What requests with the key may do.")] = "user"
    requests_per_minute: Annotated[Limit, Field(description="Maximum requests per minute. Default: no limit.")] = None
    max_concurrent: Annotated[Limit, Field(description="Maximum completions at the same time. Default: no limit.")] = (
        None
    )
    collect: Annotated[
        Consent, Field(description="The most that may be collected of requests with the key to improve the model.")
    ] = DEFAULT_KEY_CONSENT


class KeyBody(BaseModel):
    """A key without its secret part. `is_current` is true for the key that the request was sent with."""

    name: str
    object: Literal["key"] = "key"
    prefix: str
    role: KeyRole
    created: float
    last_used: float | None
    requests_per_minute: int | None
    max_concurrent: int | None
    collect: Consent
    is_current: bool

    @classmethod
    def of(cls, key: ApiKey, current: ApiKey | None) -> "KeyBody":
        """Convert a stored key; `current` is that of the request."""
        is_current = current is not None and current.prefix == key.prefix
        return cls(
            name=key.name, prefix=key.prefix, role=key.role, created=key.created, last_used=key.last_used,
            requests_per_minute=key.requests_per_minute, max_concurrent=key.max_concurrent, collect=key.consent,
            is_current=is_current,
        )  # fmt: skip


class NewKeyBody(KeyBody):
    """A key that was created, with the key itself. No other response has it."""

    key: str


class KeyList(BaseModel):
    """All keys, oldest first. `required`: requests to this server need one."""

    object: Literal["list"] = "list"
    data: list[KeyBody]
    required: bool


class DeletedKey(BaseModel):
    """Confirmation that a key was revoked."""

    name: str
    object: Literal["key.deleted"] = "key.deleted"
    deleted: Literal[True] = True


class UsageBody(BaseModel):
    """Counts of a key on a day, in UTC."""

    day: datetime.date
    key: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    errors: int


class UsageList(BaseModel):
    """Counts by day and name of the key, from `first_day` to `last_day`. Days without requests are left out."""

    object: Literal["list"] = "list"
    first_day: datetime.date
    last_day: datetime.date
    data: list[UsageBody]

    @classmethod
    def of(
        cls, first: datetime.date, last: datetime.date, usage: Iterable[tuple[UsageDay, UsageCounts]]
    ) -> "UsageList":
        """Convert stored counts."""
        data = [
            UsageBody(
                day=day, key=key, requests=counts.requests, prompt_tokens=counts.prompt_tokens,
                completion_tokens=counts.completion_tokens, errors=counts.errors,
            )
            for (day, key), counts in usage
        ]  # fmt: skip
        return cls(first_day=first, last_day=last, data=data)
