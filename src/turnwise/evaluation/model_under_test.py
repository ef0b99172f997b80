"""Models behind an engine as systems under test: they are evaluated exactly as they are served."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnwise.core.errors import ContextLengthExceeded, TemplateError
from turnwise.core.inference import GenerationRequest, InferenceEngine
from turnwise.core.messages import Message, Question, last_question
from turnwise.core.parameters import GenerationParams
from turnwise.core.response_cache import ResponseCache
from turnwise.core.tools import Tool
from turnwise.evaluation.engine_jobs import EngineJob, run_jobs
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, LoglikelihoodQuery
from turnwise.evaluation.scored_span import ScoredSpan, find_scored_span
from turnwise.evaluation.system_under_test import EMPTY_GENERATION, OnQueriesDone
from turnwise.text.rendering.renderer import Renderer

DEFAULT_MAX_TOKENS = 128  # length limit of an answer

MakeRequest = Callable[[tuple[Message, ...], dict[str, Any], tuple[Tool, ...]], GenerationRequest | str]
"""Builds the engine request of a history, generation parameters by name, and tools; or the reply, if it is fixed."""


@dataclass
class ModelUnderTest:
    """A model behind an engine that generates text: a `TextGenerator`.

    Attributes:
        name: the name in reports.
        engine: the inference engine.
        renderer: chat template and tokenizer of the model.
        make_request: builds requests as the chat service does.
        sampling: generation parameters that replace the model's defaults, by name.
        fingerprint: changes when the weights or the code that computes answers change.
        cache: earlier responses.
        fingerprint_of: fingerprint of the model that answers a request, if there are several. Their answers are shared
            with systems that answer by the same model.
    """

    name: str
    engine: InferenceEngine
    renderer: Renderer
    make_request: MakeRequest
    sampling: dict[str, Any]
    fingerprint: str
    cache: ResponseCache
    fingerprint_of: Callable[[GenerationRequest], str] | None = None

    def generate(
        self, queries: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone
    ) -> list[GenerationOutput]:
        """Generate one answer per query and seed, in large batches.

        Raises:
            TurnwiseError: the engine failed.
        """
        requests = [self._generation_request(query, seed) for query, seed in queries]
        jobs = [EngineJob(request) for request in requests if isinstance(request, GenerationRequest)]
        results = iter(self._run(jobs, on_done))
        return [
            self._output(next(results)) if isinstance(request, GenerationRequest) else _output_without_model(request)
            for request in requests
        ]

    def _output(self, result: dict[str, Any]) -> GenerationOutput:
        output = GenerationOutput(**result)
        return replace(output, text=output.text.strip()) if self.renderer.turn_format.trim else output

    def _generation_request(self, query: GenerationQuery, seed: int) -> GenerationRequest | str | None:
        """The request for a query; drops the oldest exchanges of a history that does not fit.

        A text is a fixed reply. None: not even the last exchange fits.
        """
        # A seed of its own per history: with one seed for all, equal noise would correlate the answers.
        history_text = repr([(message.role, message.content) for message in query.history])
        own_seed = int.from_bytes(hashlib.sha256(f"{seed} {history_text}".encode()).digest()[:4], "big") >> 1
        temperature = 0 if query.greedy else query.temperature
        sampling = {**self.sampling, "seed": own_seed} | ({} if temperature is None else {"temperature": temperature})
        # With a small context, the answer gets at most half of it.
        max_tokens = sampling.get("max_tokens") or DEFAULT_MAX_TOKENS
        sampling["max_tokens"] = min(max_tokens, max(1, self.engine.context_length // 2))
        history = query.history
        while True:
            try:
                return self.make_request(history, sampling, query.tools)
            except TemplateError:
                return None
            except ContextLengthExceeded:
                users = [index for index, message in enumerate(history) if message.role == "user"]
                if len(users) == 1 and sampling["max_tokens"] > 1:
                    sampling["max_tokens"] //= 2  # nothing is left to drop: shorten the answer
                    continue
                if len(users) < 2:
                    return None
                history = (*history[: users[0]], *history[users[1] :])

    def _run(self, jobs: Sequence[EngineJob], on_done: OnQueriesDone) -> list[dict[str, Any]]:
        """The results of jobs, in their order: from the cache, or computed and then cached."""
        fingerprints = [self.fingerprint_of(job.request) if self.fingerprint_of else self.fingerprint for job in jobs]
        keys = [job.key(fingerprint) for job, fingerprint in zip(jobs, fingerprints, strict=True)]
        results = self.cache.get(set(keys))
        new_jobs = {key: job for key, job in zip(keys, jobs, strict=True) if key not in results}
        on_done(sum(key in results for key in keys))
        num_jobs = Counter(keys)  # equal jobs run once
        for key, result in run_jobs(self.engine, self.renderer.tokenizer, new_jobs, self.name):
            self.cache.put(key, result)
            results[key] = result
            on_done(num_jobs[key])
        self.cache.write()
        return [results[key] for key in keys]


def _output_without_model(reply: str | None) -> GenerationOutput:
    """The output of a fixed reply; None: of a history that does not fit."""
    return EMPTY_GENERATION if reply is None else GenerationOutput(reply)


class DecoderUnderTest(ModelUnderTest):
    """A decoder-only model: a `LoglikelihoodScorer` too. Encoder-decoder models return no prompt log-probabilities."""

    def loglikelihood(self, queries: Sequence[LoglikelihoodQuery], on_done: OnQueriesDone) -> list[Loglikelihood]:
        """Score the last message of each query; queries with a common prefix share it in the prefix cache.

        Raises:
            TurnwiseError: the engine failed.
        """
        spans = [self._scored_span(query) for query in queries]
        questions = [last_question(query.messages[:-1]) for query in queries]
        results = self._run([_scoring_job(*pair) for pair in zip(spans, questions, strict=True)], on_done)
        return [
            Loglikelihood(result["nll"], len(span.positions), span.num_bytes)
            for result, span in zip(results, spans, strict=True)
        ]

    def _scored_span(self, query: LoglikelihoodQuery) -> ScoredSpan:
        try:
            return find_scored_span(self.renderer, query, self.engine.context_length)
        except TemplateError:  # a dialogue that the template rejects counts as zero tokens
            return ScoredSpan((0,), (), 0)


def _scoring_job(span: ScoredSpan, question: Question) -> EngineJob:
    request = GenerationRequest(
        span.token_ids,
        GenerationParams(temperature=0),
        0,
        frozenset(),
        prompt_output="logprobs",
        prompt_logprobs_start=span.positions[0] if span.positions else 0,
        question=question,
    )
    return EngineJob(request, span.positions)
