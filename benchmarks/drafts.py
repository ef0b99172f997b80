"""What drafts are worth: tokens a second with them by tokens a second without, on replies of two kinds.

    python benchmarks/drafts.py                   the model in the box
    python benchmarks/drafts.py FOLDER --rounds 5 --chats 1 4

*Template-heavy*: customer service gives the same few answers again and again; here a talk's answers were given before,
word for word but for a name, as they are when templates are filled in. The model is asked for them by force: the answer
is fixed by a bias on each next token, so what is measured is the engine and not what a model happens to say. *Others*:
the model's own answers, drawn at temperature 1 from prompts that have nothing in common.
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

NEW, PROMPT, TEMPLATES = 80, 60, 6


class Said:
    """A constraint: the answer is these tokens."""

    def __init__(self, ids: Sequence[int], vocab: int, at: int = 0) -> None:
        self._ids, self._vocab, self._at = ids, vocab, at

    def start(self) -> "Said":
        """At the beginning of an answer."""
        return Said(self._ids, self._vocab)

    fork = start

    def token_mask(self) -> NDArray[np.bool_]:
        """The next of them."""
        mask = np.zeros(self._vocab, dtype=np.bool_)
        mask[self._ids[self._at]] = True
        return mask

    def accept(self, token: int) -> None:  # noqa: ARG002
        """One further."""
        self._at += 1

    @property
    def is_complete(self) -> bool:
        """Whether all is said."""
        return self._at == len(self._ids)


class Work:
    """Requests of both kinds."""

    def __init__(self, vocab: int) -> None:
        self._rng = random.Random(5)
        self._vocab = vocab
        self._templates = [self._tokens(NEW) for _ in range(TEMPLATES)]
        self._number = 0

    def templates(self) -> GenerationRequest:
        """A new question, a filled-in template as the answer."""
        answer = list(self._rng.choice(self._templates))
        for gap in (9, 40):  # a name, a number
            answer[gap : gap + 3] = self._tokens(3)
        return GenerationRequest(
            tuple(self._tokens(PROMPT)), GenerationParams(temperature=0), NEW, frozenset(),
            constraints=(Said(answer, self._vocab),), scope="templates",
        )  # fmt: skip

    def others(self) -> GenerationRequest:
        """A new question, whatever the model says."""
        self._number += 1
        params = GenerationParams(temperature=1, seed=self._number)
        return GenerationRequest(tuple(self._tokens(PROMPT)), params, NEW, frozenset(), scope="others")

    def _tokens(self, count: int) -> list[int]:
        return [self._rng.randrange(5, self._vocab) for _ in range(count)]


def seconds(engine: Engine, requests: Sequence[GenerationRequest]) -> float:
    """How long all of them take together."""
    done = threading.Semaphore(0)

    def on_event(event: GenerationEvent) -> None:
        if event.finish_reason:
            done.release()

    start = time.perf_counter()
    for request in requests:
        engine.submit(request, on_event)
    for _ in requests:
        done.acquire()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a model folder; left out: the model in the box")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chats", type=int, nargs="+", default=[1, 4, 16])
    given = parser.parse_args()
    decoder = checkpoint.load(Path(resolve_model_folder(given.model)), dtype=torch.float32).decoder
    engine = Engine(decoder, max_num_seqs=max(given.chats))
    lengths = CostModel.draft_lengths

    def none(_cost: CostModel, _rows: int, drafts: Sequence[object]) -> list[int]:
        return [0] * len(drafts)

    print("| chats | replies | with drafts, tokens/s | without | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for chats in given.chats:
        for kind in ("templates", "others"):
            work = Work(decoder.config.vocab_size)
            make = getattr(work, kind)
            for _ in range(3):
                seconds(engine, [make() for _ in range(max(chats, TEMPLATES))])  # the templates become known
            found: dict[bool, list[float]] = {True: [], False: []}
            for number in range(given.rounds):
                for drafts in (True, False) if number % 2 else (False, True):
                    CostModel.draft_lengths = lengths if drafts else none  # type: ignore[assignment, method-assign]
                    found[drafts].append(chats * NEW / seconds(engine, [make() for _ in range(chats)]))
            CostModel.draft_lengths = lengths  # type: ignore[method-assign]
            ratio = statistics.median(a / b for a, b in zip(found[True], found[False], strict=True))
            with_drafts, without = (statistics.median(found[drafts]) for drafts in (True, False))
            print(f"| {chats} | {kind} | {with_drafts:,.0f} | {without:,.0f} | {ratio:.2f}× |", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
