"""What a server counts, in Prometheus' terms. Labels are bounded: templates of routes, served names, our own codes."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from turnwise.chat.service import Usage

HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REJECTION_CODES = (
    "invalid_api_key", "rate_limit_exceeded", "server_busy", "draining", "timeout", "body_too_large",
    "origin_not_allowed", "host_not_allowed",
)  # fmt: skip
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_FIRST_TOKEN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMPLETION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class ServerMetrics:
    """The counters of one application, in a registry of its own."""

    def __init__(self, num_running: Callable[[], int], num_waiting: Callable[[], int]) -> None:
        """Count for one application; `running` and `waiting` are asked at every scrape."""
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "turnwise_requests", "Requests answered, by route and status.", ["method", "route", "status"],
            registry=registry,
        )  # fmt: skip
        self._rejected = Counter(
            "turnwise_rejected", "Requests turned away, by the code of the error.", ["reason"], registry=registry
        )
        for reason in REJECTION_CODES:
            self._rejected.labels(reason)  # a series that exists from the start shows its first increase
        Gauge("turnwise_completions_running", "Completions being computed.", registry=registry).set_function(
            num_running
        )
        Gauge("turnwise_completions_waiting", "Completions waiting for a slot.", registry=registry).set_function(
            num_waiting
        )
        self._completions = Counter(
            "turnwise_completions",
            "Completions that ended, by how: stop, length and so on, cancelled (the client left), timeout or error.",
            ["model", "finish"],
            registry=registry,
        )
        self._prompt_tokens = Counter(
            "turnwise_prompt_tokens", "Tokens read, of completions that were finished.", ["model"], registry=registry
        )
        self._cached_prompt_tokens = Counter(
            "turnwise_cached_prompt_tokens",
            "Those of the tokens read that an earlier request had read before; over all of them, the rate of hits.",
            ["model"], registry=registry,
        )  # fmt: skip
        self._completion_tokens = Counter(
            "turnwise_completion_tokens", "Tokens written, of completions that were finished.", ["model"],
            registry=registry,
        )  # fmt: skip
        self._first_token_seconds = Histogram(
            "turnwise_first_token_seconds", "From the request to its first text.", ["model"],
            buckets=_FIRST_TOKEN_BUCKETS, registry=registry,
        )  # fmt: skip
        self._output_token_seconds = Histogram(
            "turnwise_output_token_seconds", "Per token after the first; of a stream, as its client took them.",
            ["model"], buckets=_TOKEN_BUCKETS, registry=registry,
        )  # fmt: skip
        self._completion_seconds = Histogram(
            "turnwise_completion_seconds", "From the request to the end of its answer.", ["model"],
            buckets=_COMPLETION_BUCKETS, registry=registry,
        )  # fmt: skip

    def record_request(self, method: str, route: str, status: int, code: str | None) -> None:
        """A request was answered; `route` is a template, `code` that of an error."""
        self._requests.labels(method if method in HTTP_METHODS else "other", route, str(status)).inc()
        if code in REJECTION_CODES:
            self._rejected.labels(code).inc()

    def record_completion(
        self,
        model: str,
        finish: str,
        seconds: float,
        *,
        time_to_first_token: float | None,
        time_per_output_token: float | None,
        usage: Usage | None,
    ) -> None:
        """A completion ended after `seconds`, its first text came after `first`, every further token after `each`."""
        self._completions.labels(model, finish).inc()
        self._completion_seconds.labels(model).observe(seconds)
        if time_to_first_token is not None:
            self._first_token_seconds.labels(model).observe(time_to_first_token)
        if time_per_output_token is not None:
            self._output_token_seconds.labels(model).observe(time_per_output_token)
        if usage is not None:
            self._prompt_tokens.labels(model).inc(usage.prompt_tokens)
            self._cached_prompt_tokens.labels(model).inc(usage.cached_tokens)
            self._completion_tokens.labels(model).inc(usage.completion_tokens)

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self._registry)
