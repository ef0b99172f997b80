"""Prometheus metrics. Label values are bounded: path templates, served names and our own error codes."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from turnwise.core.chat_response import Usage
from turnwise.core.served_versions import LoadedVersion
from turnwise.core.service_report import ServiceReport

HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REJECTION_CODES = (
    "invalid_api_key", "rate_limit_exceeded", "server_busy", "draining", "timeout", "body_too_large",
    "origin_not_allowed", "host_not_allowed",
)  # fmt: skip
# Bucket bounds, in seconds.
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_STEP_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
_FIRST_TOKEN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMPLETION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class ServerMetrics:
    """Metrics of one application, in a registry of its own."""

    def __init__(
        self,
        num_running: Callable[[], int],
        num_waiting: Callable[[], int],
        loaded_versions: Callable[[], Iterable[LoadedVersion]] = tuple,
    ) -> None:
        """Create the metrics. The functions are called at every scrape."""
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "turnwise_requests", "HTTP requests answered, by route and status.", ["method", "route", "status"],
            registry=registry,
        )  # fmt: skip
        self._rejected = Counter(
            "turnwise_rejected", "HTTP requests rejected, by error code.", ["reason"], registry=registry
        )
        for code in REJECTION_CODES:
            self._rejected.labels(code)  # without an initial 0, Prometheus does not see the first increase
        Gauge("turnwise_completions_running", "Completions that are generated now.", registry=registry).set_function(
            num_running
        )
        Gauge("turnwise_completions_waiting", "Completions in the queue.", registry=registry).set_function(num_waiting)
        self._completions = Counter(
            "turnwise_completions",
            "Completions that ended, by finish reason; also cancelled (client disconnected), timeout and error.",
            ["model", "finish"],
            registry=registry,
        )
        self._prompt_tokens = Counter(
            "turnwise_prompt_tokens", "Prompt tokens of finished completions.", ["model"], registry=registry
        )
        self._cached_prompt_tokens = Counter(
            "turnwise_cached_prompt_tokens",
            "Prompt tokens served from the prefix cache. Divided by turnwise_prompt_tokens: the hit rate.",
            ["model"], registry=registry,
        )  # fmt: skip
        self._completion_tokens = Counter(
            "turnwise_completion_tokens", "Generated tokens of finished completions.", ["model"], registry=registry
        )
        self._first_token_seconds = Histogram(
            "turnwise_first_token_seconds", "Time to first token.", ["model"],
            buckets=_FIRST_TOKEN_BUCKETS, registry=registry,
        )  # fmt: skip
        self._output_token_seconds = Histogram(
            "turnwise_output_token_seconds",
            "Time per output token after the first. In a stream it includes the time that the client takes to read.",
            ["model"], buckets=_TOKEN_BUCKETS, registry=registry,
        )  # fmt: skip
        self._completion_seconds = Histogram(
            "turnwise_completion_seconds", "Time from the request to the end of the completion.", ["model"],
            buckets=_COMPLETION_BUCKETS, registry=registry,
        )  # fmt: skip

        self._service_answers = Counter(
            "turnwise_service_answers", "Answers of scenarios, by what answered: template, knowledge, hand_off, …",
            ["scenario", "answer"], registry=registry,
        )  # fmt: skip
        self._service_steps = Counter(
            "turnwise_service_steps", "Decisions of the service path, by step and outcome.",
            ["scenario", "step", "outcome"], registry=registry,
        )  # fmt: skip
        self._service_step_seconds = Histogram(
            "turnwise_service_step_seconds", "Duration of a step of the service path.", ["step"],
            buckets=_STEP_BUCKETS, registry=registry,
        )  # fmt: skip

        self._version_answers = Counter(
            "turnwise_version_answers", "Answers of models with versions, by version and finish reason.",
            ["model", "version", "finish"], registry=registry,
        )  # fmt: skip
        self._version_first_token_seconds = Histogram(
            "turnwise_version_first_token_seconds", "Time to first token, by version.", ["model", "version"],
            buckets=_FIRST_TOKEN_BUCKETS, registry=registry,
        )  # fmt: skip
        registry.register(_VersionStates(loaded_versions))

    def record_service(self, report: ServiceReport) -> None:
        """Count the decisions of the service path, without names of customers and contents of messages."""
        self._service_answers.labels(report.scenario, report.answer_kind).inc()
        for decision in report.decisions:
            self._service_steps.labels(report.scenario, decision.step, decision.outcome).inc()
            self._service_step_seconds.labels(decision.step).observe(decision.milliseconds / 1000)

    def record_request(self, method: str, route: str, status: int, code: str | None) -> None:
        """Count an HTTP request. `route` is a path template, `code` the code of the error, if any."""
        self._requests.labels(method if method in HTTP_METHODS else "other", route, str(status)).inc()
        if code in REJECTION_CODES:
            self._rejected.labels(code).inc()

    def record_completion(
        self,
        model: str,
        finish_reason: str,
        seconds: float,
        *,
        time_to_first_token: float | None,
        time_per_output_token: float | None,
        usage: Usage | None,
        version: str | None = None,
    ) -> None:
        """Count a completion that took `seconds`. Values that were not measured are None.

        `version` is the reference of the version that answered, for models with versions.
        """
        if version is not None:
            self._version_answers.labels(model, version, finish_reason).inc()
            if time_to_first_token is not None:
                self._version_first_token_seconds.labels(model, version).observe(time_to_first_token)
        self._completions.labels(model, finish_reason).inc()
        self._completion_seconds.labels(model).observe(seconds)
        if time_to_first_token is not None:
            self._first_token_seconds.labels(model).observe(time_to_first_token)
        if time_per_output_token is not None:
            self._output_token_seconds.labels(model).observe(time_per_output_token)
        if usage is not None:
            self._prompt_tokens.labels(model).inc(usage.prompt_tokens)
            self._cached_prompt_tokens.labels(model).inc(usage.cached_tokens)
            self._completion_tokens.labels(model).inc(usage.completion_tokens)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _VersionStates(Collector):
    """State, running requests and load failures of the versions that are loaded at the time of the scrape."""

    def __init__(self, loaded_versions: Callable[[], Iterable[LoadedVersion]]) -> None:
        self._loaded_versions = loaded_versions

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; none for a server without versions."""
        states = GaugeMetricFamily(
            "turnwise_version_state", "1 for the state of each loaded version.", labels=["model", "version", "state"]
        )
        requests = GaugeMetricFamily(
            "turnwise_version_requests", "Requests that each version answers now.", labels=["model", "version"]
        )
        failures = GaugeMetricFamily(
            "turnwise_version_load_failed", "1 for each version that could not be loaded.", labels=["model", "version"]
        )
        for loaded in self._loaded_versions():
            labels = [loaded.version.content.model, loaded.version.reference]
            if loaded.error:
                failures.add_metric(labels, 1)
            else:
                states.add_metric([*labels, loaded.version.state], 1)
                requests.add_metric(labels, loaded.num_requests)
        return [metric for metric in (states, requests, failures) if metric.samples]
