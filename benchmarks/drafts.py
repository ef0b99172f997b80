"""Speculative decoding: tokens per second with drafts relative to tokens per second without, on two kinds of answers.

    python benchmarks/drafts.py                   the default model
    python benchmarks/drafts.py FOLDER --rounds 5 --chats 1 4

*Templates*: answers that equal earlier answers of the same scope except for a few tokens, as in customer service, where
templates are filled in. A constraint forces every token of these answers, so the model does not affect the result.
*Others*: answers sampled at temperature 1 to random prompts, which nothing predicts.
"""

import argparse
import random
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.inference import GenerationEvent, GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.engine.speculation.cost_model import CostModel
from turnwise.models import checkpoint

ANSWER_TOKENS, PROMPT_TOKENS, NUM_TEMPLATES = 80, 60, 6


class FixedAnswer:
    """A constraint that allows only the given answer. It is also its own state."""

    def __init__(self, ids: Sequence[int], vocab_size: int) -> None:
        self._ids, self._vocab_size, self._position = ids, vocab_size, 0

    def start(self) -> "FixedAnswer":
        """The state at the start of an answer."""
        return FixedAnswer(self._ids, self._vocab_size)

    fork = start

    def token_mask(self) -> NDArray[np.bool_]:
        """The next token of the answer."""
        mask = np.zeros(self._vocab_size, dtype=np.bool_)
        mask[self._ids[self._position]] = True
        return mask

    def accept(self, token: int) -> None:  # noqa: ARG002
        """Advance by one token."""
        self._position += 1

    @property
    def is_complete(self) -> bool:
        """True after the last token of the answer."""
        return self._position == len(self._ids)


class Workload:
    """Requests of both kinds with new random prompts."""

    def __init__(self, vocab_size: int) -> None:
        self._rng = random.Random(5)
        self._vocab_size = vocab_size
        self._templates = [self._random_tokens(ANSWER_TOKENS) for _ in range(NUM_TEMPLATES)]
        self._num_sampled = 0

    def make_requests(self, kind: str, count: int) -> list[GenerationRequest]:
        """Requests of a kind, "templates" or "others"."""
        make = self._template_request if kind == "templates" else self._sampled_request
        return [make() for _ in range(count)]

    def _template_request(self) -> GenerationRequest:
        answer = list(self._rng.choice(self._templates))
        for slot in (9, 40):  # such as a name and a number
            answer[slot : slot + 3] = self._random_tokens(3)
        return GenerationRequest(
            tuple(self._random_tokens(PROMPT_TOKENS)), GenerationParams(temperature=0), ANSWER_TOKENS, frozenset(),
            constraints=(FixedAnswer(answer, self._vocab_size),), scope="templates",
        )  # fmt: skip

    def _sampled_request(self) -> GenerationRequest:
        self._num_sampled += 1
        params = GenerationParams(temperature=1, seed=self._num_sampled)
        prompt = tuple(self._random_tokens(PROMPT_TOKENS))
        return GenerationRequest(prompt, params, ANSWER_TOKENS, frozenset(), scope="others")

    def _random_tokens(self, count: int) -> list[int]:
        return [self._rng.randrange(5, self._vocab_size) for _ in range(count)]


def time_requests(engine: Engine, requests: Sequence[GenerationRequest]) -> float:
    """Seconds until all of these concurrent requests are finished."""
    finished = threading.Semaphore(0)

    def on_event(event: GenerationEvent) -> None:
        if event.finish_reason:
            finished.release()

    start = time.perf_counter()
    for request in requests:
        engine.submit(request, on_event)
    for _ in requests:
        finished.acquire()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny", help="a model name or folder; default: tiny")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chats", type=int, nargs="+", default=[1, 4, 16], help="concurrent sequences")
    args = parser.parse_args()
    decoder = checkpoint.load(Path(resolve_model_folder(args.model)), dtype=torch.float32).decoder
    engine = Engine(decoder, max_num_seqs=max(args.chats))
    draft_lengths = CostModel.draft_lengths

    def no_drafts(_cost: CostModel, _rows: int, drafts: Sequence[object]) -> list[int]:
        return [0] * len(drafts)

    print("| sequences | answers | with drafts, tokens/s | without | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for num_sequences in args.chats:
        for kind in ("templates", "others"):
            workload = Workload(decoder.config.vocab_size)
            for _ in range(3):  # the engine records the templates
                time_requests(engine, workload.make_requests(kind, max(num_sequences, NUM_TEMPLATES)))
            speeds: dict[bool, list[float]] = {True: [], False: []}
            for number in range(args.rounds):
                for has_drafts in (True, False) if number % 2 else (False, True):
                    CostModel.draft_lengths = draft_lengths if has_drafts else no_drafts  # type: ignore[assignment, method-assign]
                    seconds = time_requests(engine, workload.make_requests(kind, num_sequences))
                    speeds[has_drafts].append(num_sequences * ANSWER_TOKENS / seconds)
            CostModel.draft_lengths = draft_lengths  # type: ignore[method-assign]
            ratio = statistics.median(a / b for a, b in zip(speeds[True], speeds[False], strict=True))
            with_drafts, without = (statistics.median(speeds[has_drafts]) for has_drafts in (True, False))
            print(f"| {num_sequences} | {kind} | {with_drafts:,.0f} | {without:,.0f} | {ratio:.2f}× |", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
