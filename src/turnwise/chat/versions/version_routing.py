"""Which version of a model answers a conversation. Pure functions.

A canary gets a share of the conversations, not of the requests: a conversation is hashed to a number in [0, 1),
together with a salt of the canary, and the canary answers those below its share. So each conversation keeps its
version, a larger share only adds conversations, and the next canary gets others.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.core.chat_request import ChatRequest
from turnwise.core.conversation_keys import opening_key, stored_conversation_key
from turnwise.core.errors import ModelNotFound
from turnwise.core.model_versions import VersionRouting
from turnwise.core.served_versions import VersionSelector
from turnwise.core.stored_messages import StoredMessage


def conversation_key(request: ChatRequest, user: str | None) -> str:
    """What identifies the conversation of a request.

    It is the id of the stored conversation; else the API key, the user and the first user message, or the text that is
    continued.
    """
    if request.conversation_id is not None:
        return stored_conversation_key(request.conversation_id)
    prompt = None if request.prompt is None else str(request.prompt)
    return opening_key(request.principal.owner, user, request.messages, prompt)


def hash_fraction(salt: str, key: str) -> float:
    """A number in [0, 1), uniform over keys and independent between salts."""
    digest = hashlib.sha256(f"{len(salt)}\n{salt}{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def is_canary_conversation(routing: VersionRouting, key: str) -> bool:
    """True if the canary answers the conversation, unless a version has answered it before."""
    canary = routing.canary
    return canary is not None and hash_fraction(canary.reference, key) < canary.share


def last_reference(messages: Sequence[StoredMessage], key: str) -> str | None:
    """Reference of the version that gave the last answer of a stored conversation; None if it is not recorded.

    Args:
        messages: messages of the current branch.
        key: key of the reference in the metadata of messages.
    """
    answers = (stored for stored in reversed(messages) if stored.message.role == "assistant")
    return next((str(stored.meta[key]) for stored in answers if key in stored.meta), None)


@dataclass(frozen=True, slots=True)
class RouteChoice:
    """The version that answers, by its number, and whether the answer counts for the comparison with the canary.

    A request that names a version does not count: its sender chose it, so the answers are no random sample.
    """

    number: int
    is_compared: bool


def choose_version(
    routing: VersionRouting, selector: VersionSelector, key: str, previous: str | None = None
) -> RouteChoice:
    """The version that answers a request.

    Args:
        routing: the versions that answer now.
        selector: what the request names.
        key: what identifies its conversation (`conversation_key`).
        previous: reference of the version that answered the stored conversation before; None: none or not recorded.

    Raises:
        ModelNotFound: the request names a version that does not answer now.
    """
    serving, canary = routing.serving, routing.canary
    if isinstance(selector, int):
        for version in (serving, canary):
            if version is not None and version.number == selector:
                return RouteChoice(selector, False)
        live = " and ".join(version.reference for version in (serving, canary) if version is not None)
        raise ModelNotFound(f"{serving.content.model}@{selector} does not answer here now. Live: {live}.")
    if selector != "routed" or canary is None:
        return RouteChoice(serving.number, selector == "routed")
    if previous in (serving.reference, canary.reference):
        return RouteChoice(canary.number if previous == canary.reference else serving.number, True)
    return RouteChoice(canary.number if is_canary_conversation(routing, key) else serving.number, True)
