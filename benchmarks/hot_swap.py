"""Swaps versions of a model under traffic: errors, mixed answers, pauses between tokens, time to roll back.

    python benchmarks/hot_swap.py                     # 32 streams, 60 seconds without and 60 seconds with swaps
    python benchmarks/hot_swap.py --seconds 10 --json

A server with the bundled model and two LoRA adapters of random weights answers greedily on a real socket. In the second
half, versions are promoted, made canary or shadow, and rolled back all the time. Each answer has to be exactly that of
one version. At the end, a canary whose answers fail is started; printed is the time from the first look of the watch
that could decide until the first request is answered by the serving version alone.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import torch

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.app.shared_base_engines import SharedBaseEngines
from turnwise.app.version_serving.canary_test import OddsRatioRateTest
from turnwise.app.version_serving.version_loader import open_version
from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.core.errors import VersionConflict
from turnwise.core.model_versions import ModelRegistry, NewVersion, VersionOutcomes
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.models.checkpoint import read_decoder_config
from turnwise.models.model_folders import weights_digest
from turnwise.server.app import create_app
from turnwise.store import open_model_registry
from turnwise.testing import serve_in_thread

MODEL = "tiny"
PROMPTS = [
    "Hello!", "Tell me a joke", "How do I cancel my order?", "What is 3 plus 4?", "Where is my order?", "Thank you",
    "Good morning", "I am tired",
]  # fmt: skip
MAX_TOKENS = 48
SWAP_SECONDS = 0.5  # between two changes
STRENGTH = 0.07  # standard deviation of the random weights


@dataclass
class Traffic:
    """What the clients of one phase saw. Times are in seconds."""

    answers: int = 0
    errors: int = 0
    mixed: int = 0
    gaps: list[float] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    def summary(self) -> dict[str, Any]:
        """Counts, and the quantiles of the pauses between two tokens."""
        gaps = statistics.quantiles(self.gaps, n=1000) if len(self.gaps) > 1 else [0.0] * 999
        return {
            "answers": self.answers, "errors": self.errors, "mixed": self.mixed, "versions": sorted(self.versions),
            "gap_p50": gaps[499], "gap_p99": gaps[989], "gap_max": max(self.gaps, default=0.0),
        }  # fmt: skip


def random_adapter(folder: Path, base: Path, seed: int) -> Path:
    """Write a LoRA adapter with random weights."""
    config, generator = read_decoder_config(base), torch.Generator().manual_seed(seed)
    folder.mkdir()
    weights = {
        f"model.layers.{layer}.self_attn.q_proj": LoraWeights(
            STRENGTH * torch.randn(4, config.hidden_size, generator=generator),
            STRENGTH * torch.randn(config.num_heads * config.head_dim, 4, generator=generator),
        )
        for layer in range(config.num_layers)
    } | {
        f"model.layers.{layer}.mlp.down_proj": LoraWeights(
            STRENGTH * torch.randn(4, config.intermediate_size, generator=generator),
            STRENGTH * torch.randn(config.hidden_size, 4, generator=generator),
        )
        for layer in range(config.num_layers)
    }
    save_adapter(folder, weights, base=base, rank=4, alpha=8, dropout=0.0, task_type="CAUSAL_LM")
    return folder


@contextmanager
def running_server(folder: Path, num_seqs: int) -> Iterator[tuple[str, ModelRegistry, VersionSupervisor]]:
    """A server with three versions of the bundled model, of which the first serves."""
    base, engines = bundled_model_folder(), SharedBaseEngines()
    folders = [base, *(random_adapter(folder / f"adapter{seed}", base, seed) for seed in (1, 2))]
    with ExitStack() as stack:
        registry = open_model_registry(f"sqlite:///{folder / 'versions.db'}")
        stack.callback(registry.close)
        for source in folders:
            version = NewVersion(MODEL, str(source), weights_digest(source), has_passed_gate=True)
            registry.add(version, reason="It is part of a benchmark.")
        library = VersionLibrary(registry, folder / "versions")
        open_model = partial(_open_model, engines, num_seqs)
        supervisor = VersionSupervisor(
            registry, MODEL, partial(open_version, library, open_model), new_test=OddsRatioRateTest
        )
        stack.enter_context(supervisor)
        url = stack.enter_context(serve_in_thread(create_app({MODEL: supervisor.service}, default=MODEL)))
        yield url, registry, supervisor


def _open_model(engines: SharedBaseEngines, num_seqs: int, folder: Path, name: str, version: Any) -> Any:
    return open_chat_service(
        str(folder), name=name, version=version, base_engines=engines, max_num_seqs=num_seqs, prepare=True
    )


async def stream_tokens(client: httpx.AsyncClient, url: str, **fields: Any) -> AsyncIterator[tuple[str, str]]:
    """Text of each token and the version of a streamed answer. Raises for an error of any kind."""
    body = {"temperature": 0, "max_tokens": MAX_TOKENS, "stream": True, **fields}
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        version = response.headers["x-turnwise-version"]
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    raise RuntimeError(chunk["error"]["message"])
                yield "".join(choice["delta"].get("content") or "" for choice in chunk["choices"]), version


async def expected_answers(client: httpx.AsyncClient, url: str, registry: ModelRegistry) -> dict[tuple[str, str], str]:
    """The greedy answer of each version to each prompt, while only this version answers."""
    answers = {}
    for number in (2, 3, 1):
        registry.change_state(MODEL, number, "serving", actor="person", reason="Record its answers.")
        for prompt in PROMPTS:
            messages = [{"role": "user", "content": prompt}]
            version, text = "", ""
            while version != f"{MODEL}@{number}":
                pieces = [piece async for piece in stream_tokens(client, url, model=MODEL, messages=messages)]
                version, text = pieces[-1][1], "".join(piece for piece, _ in pieces)
            answers[version, prompt] = text
    return answers


async def run_client(
    number: int, url: str, client: httpx.AsyncClient, expected: dict[tuple[str, str], str], end: float, traffic: Traffic
) -> None:
    """Ask one question after the other until `end`, a time of `time.perf_counter`."""
    rng = random.Random(number)
    while time.perf_counter() < end:
        prompt, text, version = rng.choice(PROMPTS), "", ""
        try:
            last_time = None
            fields = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "user": f"{number}-{prompt}"}
            async for piece, answering in stream_tokens(client, url, **fields):
                now, version = time.perf_counter(), answering
                if last_time is not None:
                    traffic.gaps.append(now - last_time)
                last_time, text = now, text + piece
        except (httpx.HTTPError, RuntimeError):
            traffic.errors += 1
        else:
            traffic.mixed += text != expected[version, prompt]
            traffic.versions.add(version)
        traffic.answers += 1


async def swap_versions(registry: ModelRegistry, end: float) -> int:
    """Change the routing until `end`. Returns the number of changes."""
    rng, count = random.Random(0), 0
    while time.perf_counter() < end:
        version = rng.choice([version for version in registry.list(MODEL) if version.state != "serving"])
        kind = rng.choice(["serving", "canary", "shadow", "roll back"])
        try:
            if kind == "roll back":
                registry.roll_back(MODEL, actor="person", reason="A benchmark.")
            elif version.state == "retired" and kind != "serving":
                registry.change_state(MODEL, version.number, "candidate", actor="person", reason="A benchmark.")
            else:
                share = 0.5 if kind == "canary" else 0.0
                registry.change_state(MODEL, version.number, kind, actor="person", reason="A benchmark.", share=share)  # type: ignore[arg-type]
            count += 1
        except VersionConflict:
            continue  # this change is not possible in the present states
        await asyncio.sleep(SWAP_SECONDS)
    return count


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


async def time_rollback(registry: ModelRegistry, supervisor: VersionSupervisor) -> float:
    """Seconds from the outcomes that show a bad canary until the canary answers nobody any more."""
    for version in registry.list(MODEL):
        if version.state in ("canary", "shadow"):
            registry.change_state(MODEL, version.number, "candidate", actor="person", reason="A benchmark.")
    version = next(version for version in registry.list(MODEL) if version.state in ("candidate", "retired"))
    if version.state == "retired":
        registry.change_state(MODEL, version.number, "candidate", actor="person", reason="A benchmark.")
    registry.change_state(MODEL, version.number, "canary", actor="person", reason="A benchmark.", share=0.5)
    await until(lambda: supervisor.router.state.routing.canary is not None)
    serving = supervisor.router.state.routing.serving.number
    start_time = time.perf_counter()
    bad, good = VersionOutcomes(answers=40, errors=30), VersionOutcomes(answers=40)
    registry.record_outcomes(MODEL, {version.number: bad, serving: good})
    await until(lambda: supervisor.router.state.routing.canary is None)
    return time.perf_counter() - start_time


async def run_benchmark(
    url: str, registry: ModelRegistry, supervisor: VersionSupervisor, clients: int, seconds: float
) -> dict[str, Any]:
    """All phases."""
    report: dict[str, Any] = {}
    limits = httpx.Limits(max_connections=clients + 1)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        expected = await expected_answers(client, url, registry)
        for phase in ("without swaps", "with swaps"):
            traffic, end = Traffic(), time.perf_counter() + seconds
            tasks = [run_client(number, url, client, expected, end, traffic) for number in range(clients)]
            if phase == "with swaps":
                report["changes"], *_ = await asyncio.gather(swap_versions(registry, end), *tasks)
            else:
                await asyncio.gather(*tasks)
            report[phase] = traffic.summary()
        report["rollback_seconds"] = await time_rollback(registry, supervisor)
    return report


def main() -> None:
    """Run the benchmark and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of each of the two phases")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), options.clients) as (url, registry, supervisor),
    ):
        report = asyncio.run(run_benchmark(url, registry, supervisor, options.clients, options.seconds))
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{options.clients} streams, {report['changes']} changes of the routing")
    for phase in ("without swaps", "with swaps"):
        figures = report[phase]
        print(
            f"{phase}: {figures['answers']} answers of {', '.join(figures['versions'])}; {figures['errors']} errors, "
            f"{figures['mixed']} mixed; pause between tokens {1000 * figures['gap_p50']:.0f} ms (median), "
            f"{1000 * figures['gap_p99']:.0f} ms (99 %), {1000 * figures['gap_max']:.0f} ms (longest)"
        )
    print(f"roll-back of a bad canary: {report['rollback_seconds']:.1f} s after its outcomes were recorded (goal: 5 s)")


if __name__ == "__main__":
    main()
