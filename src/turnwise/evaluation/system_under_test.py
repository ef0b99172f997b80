"""Whatever is evaluated: it answers, and if it is a model it says how likely a text is."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from turnwise.core.errors import ContextLengthExceeded, TemplateError, TurnwiseError
from turnwise.core.inference import (
    ErrorEvent,
    GenerationEvent,
    GenerationRequest,
    InferenceEngine,
    PromptEvent,
    RequestHandle,
    TokenEvent,
)
from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.tools import Tool
from turnwise.evaluation.response_cache import ResponseCache, cache_key
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, LoglikelihoodQuery
from turnwise.evaluation.scored_span import ScoredSpan, find_scored_span
from turnwise.text.rendering.renderer import Renderer

AHEAD = 256  # requests that the engine has at a time
MOST = 128  # tokens of an answer, where nobody says
EMPTY_GENERATION = GenerationOutput(
    "", 0, "length"
)  # what a model says to a question that is longer than all it can read

OnQueriesDone = Callable[[int], None]
MakeRequest = Callable[[tuple[Message, ...], dict[str, Any], tuple[Tool, ...]], GenerationRequest]


class SystemUnderTest(Protocol):
    """Something to be evaluated.

    Attributes:
        name: what to call it.
        scores: whether it has likelihoods.
    """

    name: str

    @property
    def scores(self) -> bool:
        """Whether it has likelihoods."""

    def answer(self, asks: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone) -> list[GenerationOutput]:
        """Answer histories, each with a seed; `on_done` is told how many more are done."""

    def score(self, scores: Sequence[LoglikelihoodQuery], on_done: OnQueriesDone) -> list[Loglikelihood]:
        """How surprising texts are; asked only where there are likelihoods."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request to the engine; `counted` are the prompt's tokens whose log-probabilities are added up, if any."""

    request: GenerationRequest
    counted: tuple[int, ...] = ()


@dataclass
class ModelUnderTest:
    """A model behind an engine: what is measured is what is served (a `Subject`).

    Attributes:
        name: what to call it.
        generator: the engine.
        renderer: its template and tokenizer.
        make_request: the request that is served for a history and parameters by name.
        asked: parameters that differ from those it is served with, by name.
        fingerprint: changes when the weights or the arithmetic change.
        cache: what it said before.
    """

    name: str
    generator: InferenceEngine
    renderer: Renderer
    make_request: MakeRequest
    asked: dict[str, Any]
    fingerprint: str
    cache: ResponseCache

    @property
    def scores(self) -> bool:
        """Whether it has likelihoods: one that reads with an encoder gives none."""
        return not self.generator.is_encoder_decoder

    def answer(self, asks: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone) -> list[GenerationOutput]:
        """Answer by the engine, many at once."""
        requests = [self._request(ask, seed) for ask, seed in asks]
        found = iter(self._do([Job(request) for request in requests if request is not None], on_done))
        return [EMPTY_GENERATION if request is None else _generation_output(next(found)) for request in requests]

    def score(self, scores: Sequence[LoglikelihoodQuery], on_done: OnQueriesDone) -> list[Loglikelihood]:
        """Score by the engine, which reads once what several begin with."""
        jobs = [self._scoring(score) for score in scores]
        found = self._do([job for job, _ in jobs], on_done)
        return [
            Loglikelihood(each["nats"], len(job.counted), size) for each, (job, size) in zip(found, jobs, strict=True)
        ]

    def _request(self, ask: GenerationQuery, seed: int) -> GenerationRequest | None:
        """What is served for a history, of which the oldest rounds go where it does not fit; None where none does."""
        said = repr([(message.role, message.content) for message in ask.history])
        own_dice = int.from_bytes(hashlib.sha256(f"{seed} {said}".encode()).digest()[:4], "big") >> 1
        temperature = 0 if ask.greedy else ask.temperature
        asked = {**self.asked, "seed": own_dice} | ({} if temperature is None else {"temperature": temperature})
        history = ask.history
        # Of a small context half is for what was said.
        asked["max_tokens"] = min(asked.get("max_tokens") or MOST, max(1, self.generator.context_length // 2))
        while True:
            try:
                return self.make_request(history, asked, ask.tools)
            except TemplateError:
                return None
            except ContextLengthExceeded:
                if asked["max_tokens"] > 1 and sum(message.role == "user" for message in history) == 1:
                    asked["max_tokens"] //= 2
                    continue
                first = next((at for at, message in enumerate(history) if message.role == "user"), len(history))
                later = [at for at, message in enumerate(history) if at > first and message.role == "user"]
                if not later:
                    return None
                history = (*history[:first], *history[later[0] :])

    def _scoring(self, score: LoglikelihoodQuery) -> tuple[Job, int]:
        """What to read, and the bytes of what is counted in it."""
        try:
            read = find_scored_span(self.renderer, score, self.generator.context_length)
        except TemplateError:  # what it cannot even be asked it has no opinion of
            read = ScoredSpan((0,), (), 0)
        request = GenerationRequest(
            read.token_ids,
            GenerationParams(temperature=0),
            0,
            frozenset(),
            prompt_output="logprobs",
            prompt_logprobs_start=read.positions[0] if read.positions else 0,
        )
        return Job(request, read.positions), read.num_bytes

    def _do(self, jobs: Sequence[Job], on_done: OnQueriesDone) -> list[dict[str, Any]]:
        """Each job's result, from before or from now."""
        keys = [self._key(job) for job in jobs]
        known = self.cache.get(set(keys))
        new = {key: job for key, job in zip(keys, jobs, strict=True) if key not in known}
        on_done(sum(key in known for key in keys))
        times = Counter(keys)
        for key, found in self._new(new):
            self.cache.put(key, found)
            known[key] = found
            on_done(times[key])
        self.cache.write()
        return [known[key] for key in keys]

    def _new(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Results as they come; whoever stops listening stops the rest.

        Raises:
            TurnwiseError: the model failed.
        """
        waiting = list(reversed(list(jobs)))
        under_way: dict[str, tuple[RequestHandle, list[int]]] = {}
        events: SimpleQueue[tuple[str, GenerationEvent]] = SimpleQueue()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < AHEAD:
                    key = waiting.pop()
                    job = jobs[key]
                    if job.request.max_tokens or job.counted:
                        listener = partial(_pass_on, events, key)
                        under_way[key] = self.generator.submit(job.request, listener), []
                    else:
                        yield key, {"nats": 0.0}
                if not under_way:
                    continue
                key, event = events.get()
                ids = under_way[key][1]
                if isinstance(event, TokenEvent):
                    ids.append(event.token_id)
                if event.finish_reason is None:
                    continue
                del under_way[key]
                if isinstance(event, ErrorEvent):
                    raise TurnwiseError(f"{self.name} failed: {event.error}") from event.error
                yield key, self._result(jobs[key], ids, event)
        finally:
            for ticket, _ in under_way.values():
                ticket.cancel()

    def _result(self, job: Job, ids: Sequence[int], last: GenerationEvent) -> dict[str, Any]:
        if not job.counted:
            text = _cut(self.renderer.tokenizer.decode(ids), job.request.params.stop)
            return {"text": text, "tokens": len(ids), "finish": str(last.finish_reason)}
        assert isinstance(last, PromptEvent), "the request asks for log-probabilities of the prompt only"
        first = max(1, job.request.prompt_logprobs_start)
        return {"nats": -math.fsum(last.prompt_logprobs[at - first].logprob for at in job.counted)}

    def _key(self, job: Job) -> str:
        request = job.request
        return cache_key(
            self.fingerprint, request.prompt_ids, asdict(request.params), request.max_tokens, sorted(request.stop_ids),
            request.prompt_output, request.encoder_ids, job.counted,
        )  # fmt: skip


def _generation_output(record: Mapping[str, Any]) -> GenerationOutput:
    return GenerationOutput(record["text"], record["tokens"], record["finish"])


def _cut(text: str, stops: Sequence[str]) -> str:
    """What comes before the first of the strings that end an answer, which the engine knows nothing of."""
    return text[: min([found for stop in stops if (found := text.find(stop)) >= 0], default=len(text))]


def _pass_on(events: "SimpleQueue[tuple[str, GenerationEvent]]", key: str, event: GenerationEvent) -> None:
    events.put((key, event))
