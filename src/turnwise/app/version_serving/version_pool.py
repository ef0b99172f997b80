"""Loads the versions that answer in a background thread, and closes those that do not answer any more."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from turnwise.chat.versions.live_version import LiveVersion
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import TurnwiseError
from turnwise.core.model_versions import ModelVersion, VersionRouting
from turnwise.core.served_versions import AnsweringVersion, LoadedVersion

OpenVersion = Callable[[ModelVersion], AbstractContextManager[ChatService]]
AddPath = Callable[[ChatService, AnsweringVersion], ChatService]
VersionKey = tuple[int, str]  # number of the version and digest of its weights

log = logging.getLogger("turnwise.server")


class VersionPool:
    """The versions in memory. Used by one thread, which calls `update` again and again."""

    def __init__(
        self,
        open_version: OpenVersion,
        add_path: AddPath | None = None,
        on_loaded: Callable[[], None] = lambda: None,
    ) -> None:
        """Create an empty pool.

        Args:
            open_version: loads and checks a version; its weights are in memory until the block ends.
            add_path: puts the service path of scenarios before a version; None: there is none.
            on_loaded: called when a version has been loaded or could not be, from another thread.
        """
        self._open_version, self._add_path, self._on_loaded = open_version, add_path, on_loaded
        self._executor = ThreadPoolExecutor(1, "turnwise-load-version")
        self._loading: dict[VersionKey, Future[LiveVersion]] = {}
        self._live: dict[VersionKey, LiveVersion] = {}
        self._errors: dict[VersionKey, str] = {}

    def load_first(self, versions: Sequence[ModelVersion]) -> tuple[ModelVersion, LiveVersion]:
        """Load the first version that can be loaded, and return it. Blocks.

        If it is not the serving one, which is the first of `versions`, `reports` says why.

        Raises:
            TurnwiseError: none can be loaded; the error is that of the serving one.
        """
        problem: Exception | None = None
        for version in versions:
            try:
                live = self._open(version)
            except Exception as error:
                if problem is None:
                    problem, self._errors[_key(version)] = error, _describe_error(error)
            else:
                self._live[_key(version)] = live
                return version, live
        assert problem is not None, "there is at least one version"
        raise problem

    def update(self, routing: VersionRouting, present: VersionRouting) -> tuple[VersionRouting, dict[int, LiveVersion]]:
        """Start to load what `routing` needs, and return what can answer now.

        The serving version is replaced only when the new one is loaded; a canary or a shadow answers only once it is
        loaded, and a version that has lost this state stops at once.

        Args:
            routing: what the registry says.
            present: what answers now.
        """
        needed = routing.versions
        self._collect()
        self._errors = {key: error for key, error in self._errors.items() if key in map(_key, needed)}
        for version in needed:
            key = _key(version)
            if key not in self._live and key not in self._loading and key not in self._errors:
                self._loading[key] = self._executor.submit(self._open, version)
                self._loading[key].add_done_callback(lambda _: self._on_loaded())
        serving = routing.serving if _key(routing.serving) in self._live else present.serving
        canary, shadow = (
            None if version is None or version.number == serving.number or _key(version) not in self._live else version
            for version in (routing.canary, routing.shadow)
        )
        effective = replace(routing, serving=serving, canary=canary, shadow=shadow)
        return effective, {version.number: self._live[_key(version)] for version in effective.versions}

    def close_unused(self, effective: VersionRouting, routing: VersionRouting) -> None:
        """Close versions that neither answer nor are about to, once their last request has ended."""
        used = {_key(version) for version in (*effective.versions, *routing.versions)}
        for key, live in list(self._live.items()):
            if key not in used and live.close_if_idle():
                del self._live[key]
                log.info("%s is unloaded", live.answering.reference)

    def reports(self, routing: VersionRouting, effective: VersionRouting) -> list[LoadedVersion]:
        """What is loaded, and what could not be loaded."""
        # The registry's record is the newer one.
        records = {_key(version): version for version in (*effective.versions, *routing.versions)}
        loaded = [LoadedVersion(records[key], live.num_requests) for key, live in self._live.items() if key in records]
        return loaded + [LoadedVersion(records[key], error=error) for key, error in self._errors.items()]

    def retry(self) -> None:
        """Try to load again what could not be loaded."""
        self._errors.clear()

    @property
    def is_idle(self) -> bool:
        """True if nothing is loaded at present."""
        return not self._loading

    def close(self) -> None:
        """Close all versions. Unfinished requests end as cancelled."""
        self._executor.shutdown(wait=True)
        self._collect()
        for live in self._live.values():
            live.close()
        self._live.clear()

    def _collect(self) -> None:
        """Take over the versions that have been loaded."""
        for key, future in [entry for entry in self._loading.items() if entry[1].done()]:
            del self._loading[key]
            error = future.exception()
            if error is None:
                self._live[key] = future.result()
                log.info("%s is loaded", self._live[key].answering.reference)
                continue
            self._errors[key] = _describe_error(error)
            log.error("Version %d could not be loaded; the others go on. %s", key[0], self._errors[key])

    def _open(self, version: ModelVersion) -> LiveVersion:
        with ExitStack() as stack:
            model = stack.enter_context(self._open_version(version))
            service = None if self._add_path is None else self._add_path(model, AnsweringVersion.of(version))
            return LiveVersion(version, model, stack.pop_all().close, service=service)


def _describe_error(error: BaseException) -> str:
    """Why a version cannot be loaded; an internal error is logged with its trace."""
    if isinstance(error, TurnwiseError):
        return str(error)
    log.error("a version could not be loaded", exc_info=error)
    return "an internal error; see the log"


def _key(version: ModelVersion) -> VersionKey:
    return version.number, version.content.weights_sha256
