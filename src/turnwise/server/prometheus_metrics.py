"""What a server counts, in Prometheus' terms. Labels are bounded: templates of routes, served names, our own codes."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from turnwise.chat.service import Usage

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REASONS = (
    "invalid_api_key", "rate_limit_exceeded", "server_busy", "draining", "timeout", "body_too_large",
    "origin_not_allowed", "host_not_allowed",
)  # fmt: skip
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WHOLE = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """The counters of one application, in a registry of its own."""

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Count for one application; `running` and `waiting` are asked at every scrape."""
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "turnwise_requests", "Requests answered, by route and status.", ["method", "route", "status"],
            registry=registry,
        )  # fmt: skip
        self._rejected = Counter(
            "turnwise_rejected", "Requests turned away, by the code of the error.", ["reason"], registry=registry
        )
        for reason in REASONS:
            self._rejected.labels(reason)  # a series that exists from the start shows its first increase
        Gauge("turnwise_completions_running", "Completions being computed.", registry=registry).set_function(running)
        Gauge("turnwise_completions_waiting", "Completions waiting for a slot.", registry=registry).set_function(
            waiting
        )
        self._completions = Counter(
            "turnwise_completions",
            "Completions that ended, by how: stop, length and so on, cancelled (the client left), timeout or error.",
            ["model", "finish"],
            registry=registry,
        )
        self._read = Counter(
            "turnwise_prompt_tokens", "Tokens read, of completions that were finished.", ["model"], registry=registry
        )
        self._cached = Counter(
            "turnwise_cached_prompt_tokens",
            "Those of the tokens read that an earlier request had read before; over all of them, the rate of hits.",
            ["model"], registry=registry,
        )  # fmt: skip
        self._written = Counter(
            "turnwise_completion_tokens", "Tokens written, of completions that were finished.", ["model"],
            registry=registry,
        )  # fmt: skip
        self._first = Histogram(
            "turnwise_first_token_seconds", "From the request to its first text.", ["model"],
            buckets=_FIRST, registry=registry,
        )  # fmt: skip
        self._each = Histogram(
            "turnwise_output_token_seconds", "Per token after the first; of a stream, as its client took them.",
            ["model"], buckets=_SHORT, registry=registry,
        )  # fmt: skip
        self._whole = Histogram(
            "turnwise_completion_seconds", "From the request to the end of its answer.", ["model"],
            buckets=_WHOLE, registry=registry,
        )  # fmt: skip

    def answered(self, method: str, route: str, status: int, code: str | None) -> None:
        """A request was answered; `route` is a template, `code` that of an error."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        if code in REASONS:
            self._rejected.labels(code).inc()

    def finished(
        self, model: str, finish: str, seconds: float, *, first: float | None, each: float | None, usage: Usage | None
    ) -> None:
        """A completion ended after `seconds`, its first text came after `first`, every further token after `each`."""
        self._completions.labels(model, finish).inc()
        self._whole.labels(model).observe(seconds)
        if first is not None:
            self._first.labels(model).observe(first)
        if each is not None:
            self._each.labels(model).observe(each)
        if usage is not None:
            self._read.labels(model).inc(usage.prompt_tokens)
            self._cached.labels(model).inc(usage.cached_tokens)
            self._written.labels(model).inc(usage.completion_tokens)

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self._registry)
