"""A chat service whose requests are answered by versions of one model."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from turnwise.chat.versions.delegating_chat_service import DelegatingChatService
from turnwise.chat.versions.outcome_counter import AnswerOutcome
from turnwise.chat.versions.version_router import RoutedRequest, VersionRouter
from turnwise.chat.versions.version_routing import choose_version
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import TurnwiseError
from turnwise.core.feedback import AnswerOrigin
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import LoadedVersion, VersionedService, VersionLease, VersionSelector


class VersionedChatService(DelegatingChatService, VersionedService):
    """Routes requests to versions (implements `core.served_versions.VersionedService` and `ChatService`).

    Without `acquire`, each call of `stream` is a request of its own. The properties are those of the version that
    `selector` stands for; of the serving version if requests are routed.
    """

    def __init__(self, router: VersionRouter, selector: VersionSelector = "routed", *, with_path: bool = True) -> None:
        """Serve what `router` routes to; requests name `selector`. Without `with_path`, scenarios are left out."""
        self._router, self._selector, self._with_path = router, selector, with_path

    @property
    def target(self) -> ChatService:
        """The version that `selector` stands for now. Raises `ModelNotFound` if it does not answer any more."""
        state = self._router.state
        selector = "stable" if self._selector == "routed" else self._selector
        live = state.live[choose_version(state.routing, selector, "").number]
        return live.service if self._with_path else live.model

    def select(self, selector: VersionSelector) -> "VersionedChatService":
        """The same service, restricted to a version. Raises `ModelNotFound` if it is not live."""
        selected = VersionedChatService(self._router, selector, with_path=self._with_path)
        assert selected.target is not None  # raises for an unknown version
        return selected

    async def acquire(self, request: ChatRequest, *, user: str | None = None) -> VersionLease:
        """The version that answers a request from start to end. Raises `ModelNotFound` as `select` does."""
        routed = await self._router.acquire(request, self._selector, user)
        live = routed.live
        releases = [live.release]

        def release() -> None:
            while releases:
                releases.pop()()

        service = live.service if self._with_path else live.model
        counted = _VersionService(self._router, routed, service, has_outcome=routed.is_compared and self._with_path)
        answering = replace(live.answering, is_routed=routed.is_compared)
        return VersionLease(counted, answering, release, counted.record_timeout)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Answer a request with one version. Raises as `ChatService.stream` does."""
        lease = await self.acquire(request)
        try:
            async with aclosing(lease.service.stream(request)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            lease.release()

    def live_versions(self) -> Sequence[ModelVersion]:
        """The versions that requests can name: the serving one, and the canary."""
        return self._router.live_versions()

    def loaded_versions(self) -> Sequence[LoadedVersion]:
        """All versions that this server has loaded or failed to load."""
        return self._router.reports

    def record_rating(self, answer: AnswerOrigin, value: int, previous: int | None) -> None:
        """Count the rating of an answer, 1 or -1. `previous` is the last rating of the same answer."""
        self._router.record_rating(answer, value, previous)


class _VersionService(DelegatingChatService):
    """Answers with one version, counts the outcomes and copies requests to the shadow version."""

    def __init__(
        self, router: VersionRouter, routed: RoutedRequest, service: ChatService, *, has_outcome: bool
    ) -> None:
        self._router, self._routed, self._service, self._has_outcome = router, routed, service, has_outcome

    @property
    def target(self) -> ChatService:
        """The version."""
        return self._service

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Answer a request. Raises as `ChatService.stream` does."""
        request = replace(request, is_routed=self._routed.is_compared)
        is_answer = request.output.generates and not request.is_internal
        start_time, first_token_seconds = time.perf_counter(), None
        is_complete = is_error = False
        try:
            async with aclosing(self.target.stream(request)) as deltas:
                async for delta in deltas:
                    if first_token_seconds is None and (delta.text or delta.tool_calls):
                        first_token_seconds = time.perf_counter() - start_time
                    is_error = is_error or delta.finish_reason == "error"
                    is_complete = is_complete or (delta.usage is not None and delta.finish_reason != "cancelled")
                    yield delta
        except TurnwiseError as error:
            is_error = error.http_status >= 500  # others are faults of the request
            raise
        except Exception:
            is_error = True
            raise
        finally:  # an answer that was cancelled has no outcome, unless it reached the time limit
            if (is_complete or is_error) and is_answer:
                self._record(AnswerOutcome(is_error, first_token_seconds))
            shadow = self._router.state.shadow
            if shadow is not None and is_complete and is_answer:
                self._router.shadow_traffic.offer(request, shadow)

    def record_timeout(self) -> None:
        """Count an answer that reached the time limit of the server as failed."""
        self._record(AnswerOutcome(is_error=True))

    def _record(self, outcome: AnswerOutcome) -> None:
        if self._has_outcome:
            self._router.outcomes.record(self._routed.live.number, outcome, self._routed.conversation)
