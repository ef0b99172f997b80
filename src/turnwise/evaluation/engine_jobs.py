"""Runs many requests on an engine, a bounded number at a time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from turnwise.core.errors import TurnwiseError
from turnwise.core.inference import (
    ErrorEvent,
    GenerationEvent,
    GenerationRequest,
    InferenceEngine,
    PromptEvent,
    RequestHandle,
    TokenEvent,
)
from turnwise.evaluation.response_cache import cache_key
from turnwise.text.tokenization.tokenizer import Tokenizer

MAX_REQUESTS_IN_FLIGHT = 256


@dataclass(frozen=True, slots=True)
class EngineJob:
    """One request to the engine.

    Attributes:
        request: the request.
        scored_positions: positions of the prompt tokens whose log-probabilities are summed. Empty: generate text.
    """

    request: GenerationRequest
    scored_positions: tuple[int, ...] = ()

    def key(self, fingerprint: str) -> str:
        """Return the cache key: a digest of all that decides the result. `fingerprint` stands for the model."""
        request = self.request
        return cache_key(
            fingerprint, request.prompt_ids, asdict(request.params), request.max_tokens, sorted(request.stop_ids),
            request.prompt_output, request.encoder_ids, self.scored_positions,
        )  # fmt: skip


def run_jobs(
    engine: InferenceEngine, tokenizer: Tokenizer, jobs: Mapping[str, EngineJob], name: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key and the result of each job as it completes; closing the generator cancels outstanding requests.

    A result is `{"text", "num_tokens", "finish_reason"}` of generated text, or `{"nll"}` of a scored prompt in nats.

    Args:
        engine: the engine.
        tokenizer: decodes generated tokens.
        jobs: the jobs by key. They start in this order.
        name: the model's name for error messages.

    Raises:
        TurnwiseError: the engine failed.
    """
    waiting = list(reversed(list(jobs)))
    in_flight: dict[str, tuple[RequestHandle, list[int]]] = {}  # handle and generated token ids
    events: SimpleQueue[tuple[str, GenerationEvent]] = SimpleQueue()  # filled by the engine's thread
    try:
        while waiting or in_flight:
            while waiting and len(in_flight) < MAX_REQUESTS_IN_FLIGHT:
                key = waiting.pop()
                job = jobs[key]
                if job.request.max_tokens or job.scored_positions:
                    in_flight[key] = engine.submit(job.request, partial(_enqueue, events, key)), []
                else:
                    yield key, {"nll": 0.0}  # no token is scored, so there is nothing to compute
            if not in_flight:
                continue
            key, event = events.get()
            token_ids = in_flight[key][1]
            if isinstance(event, TokenEvent):
                token_ids.append(event.token_id)
            if event.finish_reason is None:
                continue
            del in_flight[key]
            if isinstance(event, ErrorEvent):
                raise TurnwiseError(f"{name} failed: {event.error}") from event.error
            yield key, _result(jobs[key], token_ids, event, tokenizer)
    finally:
        for handle, _ in in_flight.values():
            handle.cancel()


def _result(job: EngineJob, token_ids: Sequence[int], last: GenerationEvent, tokenizer: Tokenizer) -> dict[str, Any]:
    if not job.scored_positions:
        text = _truncate_at_stop(tokenizer.decode(token_ids), job.request.params.stop)
        return {"text": text, "num_tokens": len(token_ids), "finish_reason": str(last.finish_reason)}
    assert isinstance(last, PromptEvent), "the request asks for log-probabilities of the prompt only"
    # The first token of a prompt has no log-probability, so the list never starts before position 1.
    start = max(1, job.request.prompt_logprobs_start)
    return {"nll": -math.fsum(last.prompt_logprobs[position - start].logprob for position in job.scored_positions)}


def _truncate_at_stop(text: str, stops: Sequence[str]) -> str:
    """Cut the text before the first stop string; the engine sees token ids only and does not know stop strings."""
    return text[: min([at for stop in stops if (at := text.find(stop)) >= 0], default=len(text))]


def _enqueue(events: "SimpleQueue[tuple[str, GenerationEvent]]", key: str, event: GenerationEvent) -> None:
    events.put((key, event))
