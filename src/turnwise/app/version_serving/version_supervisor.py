"""Follows the registry of versions while a server runs: a thread that swaps, counts, ends canaries and unloads."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from turnwise.app.version_serving.version_pool import AddPath, OpenVersion, VersionPool
from turnwise.chat.versions.canary_watch import CanaryWatch, RateTest
from turnwise.chat.versions.version_router import VersionRouter
from turnwise.chat.versions.versioned_chat_service import VersionedChatService
from turnwise.core.errors import InvalidData, NotFound, TurnwiseError, VersionConflict
from turnwise.core.model_versions import ModelRegistry, ModelVersion, VersionOutcomes, VersionRouting

POLL_SECONDS = 1.0  # between two looks at the registry
FLUSH_SECONDS = 2.0  # between two writes of outcomes

log = logging.getLogger("turnwise.server")


class VersionSupervisor(AbstractContextManager["VersionSupervisor"]):
    """Keeps the versions of one model in memory as the registry says. Use it as a context manager.

    A registry that cannot be read changes nothing: what answers goes on answering.

    Attributes:
        router: what answers now.
        service: the chat service that routes to the versions.
        model: the same without scenarios, for scenarios of other models that use this one.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        model: str,
        open_version: OpenVersion,
        *,
        fallbacks: Sequence[ModelVersion] = (),
        add_path: AddPath | None = None,
        new_test: Callable[[], RateTest] | None = None,
        poll_seconds: float = POLL_SECONDS,
        flush_seconds: float = FLUSH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the version that serves, which blocks. The others are loaded by the thread.

        If it cannot be loaded, the first one of `fallbacks` that can answers, until the registry lets another version
        serve. The registry is not changed: another server may have the files that are missing here.

        Args:
            registry: the versions.
            model: served model name.
            open_version: loads and checks a version; its weights are in memory until the block ends.
            fallbacks: versions that answer if the serving one cannot be loaded, in the order of preference.
            add_path: puts the service path of scenarios before a version; None: there is none.
            new_test: makes the test of one figure that ends a canary; None: none is ended.
            poll_seconds: time between two looks at the registry.
            flush_seconds: time between two writes of outcomes, which are followed by a decision about the canary.
            clock: monotonic time in seconds.

        Raises:
            InvalidData: no version of the model serves.
            UserError: neither the serving version nor a fallback can be loaded.
        """
        self._registry, self._name, self._new_test = registry, model, new_test
        self._watch: CanaryWatch | None = None  # of the present canary
        self._poll_seconds, self._flush_seconds, self._clock = poll_seconds, flush_seconds, clock
        routing = registry.routing(model)
        if routing is None:
            raise InvalidData(f"No version of the model {model} serves.")
        self._routing = routing
        self._wake = threading.Event()
        self._is_closing = False
        self._is_unreadable = False
        self._last_flush = clock()
        self._pool = VersionPool(open_version, add_path, on_loaded=self._wake.set)
        answering, live = self._pool.load_first([routing.serving, *fallbacks])
        serving_only = VersionRouting(routing.revision, answering)
        self.router = VersionRouter(model, serving_only, {answering.number: live})
        self.router.reports = self._pool.reports(routing, serving_only)
        self.service = VersionedChatService(self.router)
        self.model = VersionedChatService(self.router, with_path=False)
        self._warn_of_fallback()
        self._thread = threading.Thread(target=self._run, name=f"turnwise-versions-{model}", daemon=True)

    def __enter__(self) -> "VersionSupervisor":
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread and close all versions."""
        self._is_closing = True
        self._wake.set()
        self._thread.join()
        self._flush()
        self._pool.close()

    def look_now(self) -> None:
        """Look at the registry at once instead of at the next poll."""
        self._wake.set()

    def describe(self) -> str:
        """What answers now, such as "shop@2 answers, shop@3 is the canary (10%)"."""
        description, serving = _describe(self.router.state.routing), self._routing.serving
        if self.router.state.routing.serving.number == serving.number:
            return description
        return f"{description}; {serving.reference} should serve and is not loaded"

    def _warn_of_fallback(self) -> None:
        answering, serving = self.router.state.routing.serving, self._routing.serving
        if answering.number != serving.number:
            errors = [entry.error for entry in self.router.reports if entry.version.number == serving.number]
            log.warning(
                "%s serves but cannot be loaded, so %s answers until another version is promoted. %s",
                serving.reference, answering.reference, *errors,
            )  # fmt: skip

    def _run(self) -> None:
        while not self._is_closing:
            try:
                self.step()
            except Exception:  # the thread must go on: without it, nothing is rolled back
                log.exception("following the versions of %s failed", self._name)
            self._wake.wait(self._poll_seconds)
            self._wake.clear()

    def step(self) -> None:
        """One look at the registry and all that follows from it."""
        self._read_routing()
        self._apply()
        if self._clock() - self._last_flush >= self._flush_seconds:
            self._last_flush = self._clock()
            if self._flush() and self._end_bad_canary():
                self._read_routing()
                self._apply()

    def _read_routing(self) -> None:
        try:
            if self._registry.revision() == self._routing.revision:
                return
            routing = self._registry.routing(self._name)
            if routing is None:
                raise NotFound(f"The registry has no version of {self._name} any more that serves.")
        except TurnwiseError as error:
            if not self._is_unreadable:
                log.error("The versions of %s stay as they are. %s", self._name, error)
            self._is_unreadable = True
            return
        self._is_unreadable = False
        self._routing = routing
        self._pool.retry()

    def _apply(self) -> None:
        """Let what is loaded answer, and close what is not used any more."""
        present = self.router.state.routing
        effective, live = self._pool.update(self._routing, present)
        if _roles(effective) != _roles(present):
            self.router.swap(effective, live)
            self._watch = None if self._new_test is None else CanaryWatch(self._new_test)
            log.info("%s: %s", self._name, _describe(effective))
        self._pool.close_unused(effective, self._routing)
        self.router.reports = self._pool.reports(self._routing, effective)

    def _flush(self) -> bool:
        """Write the outcomes to the registry. Returns False if this failed; they are then written next time."""
        counts = self.router.outcomes.take()
        if not counts:
            return True
        try:
            self._registry.record_outcomes(self._name, counts)
        except TurnwiseError as error:
            self.router.outcomes.put_back(counts)
            log.warning("The outcomes of versions were not saved, and are kept in memory. %s", error)
            return False
        return True

    def _end_bad_canary(self) -> bool:
        """Retire the canary if it is significantly worse than the serving version. Returns True if it was."""
        routing = self.router.state.routing
        if self._watch is None or routing.canary is None:
            return False
        number, serving = routing.canary.number, routing.serving.number
        try:
            outcomes = self._registry.outcomes(self._name)
            reason = self._watch.look(outcomes.get(number, VersionOutcomes()), outcomes.get(serving, VersionOutcomes()))
            if reason is None:
                return False
            self._registry.change_state(self._name, number, "retired", actor="canary_watch", reason=reason)
        except VersionConflict:
            return True  # its state was changed meanwhile
        except TurnwiseError as error:
            log.error("The canary cannot be watched at present. %s", error)
            return False
        log.warning("The canary %s has ended. %s", routing.canary.reference, reason)
        return True


def _roles(routing: VersionRouting) -> tuple[object, ...]:
    """What the routing of requests depends on."""
    canary, shadow = routing.canary, routing.shadow
    return (
        routing.serving.number,
        None if canary is None else (canary.number, canary.share),
        None if shadow is None else shadow.number,
    )


def _describe(routing: VersionRouting) -> str:
    roles = [f"{routing.serving.reference} answers"]
    if (canary := routing.canary) is not None:
        roles.append(f"{canary.reference} is the canary ({canary.share:.0%})")
    if routing.shadow is not None:
        roles.append(f"{routing.shadow.reference} is the shadow")
    return ", ".join(roles)
