"""The versions of one model that a server has loaded, and which of them answers a request."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnwise.chat.versions.live_version import LiveVersion
from turnwise.chat.versions.outcome_counter import OutcomeCounter
from turnwise.chat.versions.shadow_traffic import ShadowTraffic
from turnwise.chat.versions.version_routing import choose_version, conversation_key, last_reference
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.executors import STORE_READ_EXECUTOR
from turnwise.core.feedback import AnswerOrigin
from turnwise.core.model_versions import ModelVersion, VersionRouting
from turnwise.core.served_versions import VERSION_KEY, LoadedVersion, VersionSelector

log = logging.getLogger("turnwise.chat")


@dataclass(frozen=True, slots=True)
class RoutingState:
    """What answers now. It is replaced as one object, so a request never sees half a change.

    Attributes:
        routing: versions that are loaded and answer.
        live: these versions by number.
    """

    routing: VersionRouting
    live: Mapping[int, LiveVersion]

    @property
    def serving(self) -> LiveVersion:
        """The version that answers without a canary."""
        return self.live[self.routing.serving.number]

    @property
    def shadow(self) -> LiveVersion | None:
        """The version that gets copies of requests."""
        return None if self.routing.shadow is None else self.live[self.routing.shadow.number]


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """The version that answers a request.

    Attributes:
        live: the version; whoever has the request releases it.
        is_compared: the answer counts for the comparison with a canary; False if the request names the version.
        conversation: what identifies the conversation of the request.
    """

    live: LiveVersion
    is_compared: bool
    conversation: str


class VersionRouter:
    """Chooses versions for requests, and lets `swap` replace them under traffic.

    Attributes:
        model: served model name.
        outcomes: outcomes of answers by version.
        shadow_traffic: copies of requests for a shadow version.
        reports: what the owner of the router knows about its versions; it replaces the sequence.
    """

    def __init__(self, model: str, routing: VersionRouting, live: Mapping[int, LiveVersion]) -> None:
        """Route to loaded versions; `live` has all versions of `routing`."""
        self.model = model
        self.outcomes = OutcomeCounter()
        self.shadow_traffic = ShadowTraffic(self.outcomes)
        self.reports: Sequence[LoadedVersion] = ()
        self._state = RoutingState(routing, dict(live))
        self.outcomes.start(routing)

    @property
    def state(self) -> RoutingState:
        """What answers now."""
        return self._state

    def swap(self, routing: VersionRouting, live: Mapping[int, LiveVersion]) -> None:
        """Replace what answers. Requests that have begun go on with their version."""
        self._state = RoutingState(routing, dict(live))
        self.outcomes.start(routing)

    def live_versions(self) -> Sequence[ModelVersion]:
        """The versions that requests can name."""
        routing = self._state.routing
        return [version for version in (routing.serving, routing.canary) if version is not None]

    async def acquire(self, request: ChatRequest, selector: VersionSelector, user: str | None) -> RoutedRequest:
        """The version that answers a request. The caller releases it.

        Raises:
            ModelNotFound: the request names a version that does not answer now.
            Unavailable: the server stops.
        """
        key = conversation_key(request, user)
        previous = await self._previous_version(request) if selector == "routed" else None
        while True:
            state = self._state
            choice = choose_version(state.routing, selector, key, previous)
            live = state.live[choice.number]
            if live.acquire():
                return RoutedRequest(live, choice.is_compared, key)
            if state is self._state:  # else the version was replaced and closed since the state was read
                raise Unavailable("The model is being taken out of service.")

    async def _previous_version(self, request: ChatRequest) -> str | None:
        """Reference of the version that gave the last answer of a stored conversation. Read only beside a canary."""
        store = self._state.serving.service.store
        if request.conversation_id is None or store is None or self._state.routing.canary is None:
            return None
        store = store.for_principal(request.principal)
        try:
            stored = await STORE_READ_EXECUTOR.run(store.get, request.conversation_id)
        except TurnwiseError:  # the service that answers raises it again, or the store has recovered
            return None
        return last_reference(stored.messages, VERSION_KEY)

    def record_rating(self, answer: AnswerOrigin, value: int, previous: int | None) -> None:
        """Count the rating of an answer that was routed to a version which answers or is compared now."""
        for live in self._state.live.values():
            if answer.is_routed and live.answering.reference == answer.version:
                self.outcomes.record_rating(live.number, answer, value, previous)
