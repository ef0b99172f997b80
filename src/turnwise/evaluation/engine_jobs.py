"""Runs many requests on an engine, a bounded number at a time."""

import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from turnwise.core.errors import TurnwiseError, UserError
from turnwise.core.inference import GenerationRequest, InferenceEngine
from turnwise.core.inference_client import Generation, InferenceClient
from turnwise.core.response_cache import cache_key
from turnwise.text.streaming.answer_text import AnswerText
from turnwise.text.tokenization.tokenizer import Tokenizer


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
            *([request.template_stops] if request.template_stops else []),
        )  # fmt: skip


def run_jobs(
    engine: InferenceEngine, tokenizer: Tokenizer, jobs: Mapping[str, EngineJob], name: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key and the result of each job, in order; closing the generator cancels outstanding requests.

    A result is `{"text", "num_tokens", "finish_reason"}` of generated text, or `{"nll"}` of a scored prompt in nats.

    Args:
        engine: the engine.
        tokenizer: decodes generated tokens.
        jobs: the jobs by key. They start in this order.
        name: the model's name for error messages.

    Raises:
        UserError: a request is rejected.
        TurnwiseError: the engine failed.
    """
    client = InferenceClient(engine)
    pending: list[tuple[str, EngineJob, AnswerText]] = []
    for key, job in jobs.items():
        if job.request.max_tokens or job.scored_positions:
            pending.append((key, job, AnswerText(tokenizer, job.request.stop_strings)))
        else:
            yield key, {"nll": 0.0}  # no token is scored, so there is nothing to compute
    generations = client.generate_all((job.request, text) for _, job, text in pending)
    with closing(generations):
        try:
            for (key, job, text), generation in zip(pending, generations, strict=True):
                yield key, _result(job, generation, text)
        except UserError:
            raise
        except TurnwiseError as error:
            raise TurnwiseError(f"{name} failed: {error}") from error


def _result(job: EngineJob, generation: Generation, text: AnswerText) -> dict[str, Any]:
    if not job.scored_positions:
        return {
            "text": text.finish(),
            "num_tokens": len(generation.token_ids),
            "finish_reason": generation.finish_reason,
        }
    assert generation.prompt is not None, "the request asks for log-probabilities of the prompt only"
    # The first token of a prompt has no log-probability, so the list never starts before position 1.
    start = max(1, job.request.prompt_logprobs_start)
    logprobs = generation.prompt.prompt_logprobs
    return {"nll": -math.fsum(logprobs[position - start].logprob for position in job.scored_positions)}
