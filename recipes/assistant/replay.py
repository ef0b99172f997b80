"""Generates replies of the base model to replay in training: replay.py DATA OUT

DATA is the folder of open sets, OUT the folder of `prepare.py`. OUT/replay_N.jsonl receives the base model's own
replies for stage N: to prompts of the open sets and, in the first stage, to small talk, safety and support prompts of
the package. Two of three replies are greedy. Replies that reach 220 tokens are dropped. Everything is seeded.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import torch

from turnwise.core.inference import GenerationRequest
from turnwise.core.inference_client import InferenceClient
from turnwise.core.messages import Conversation, Message
from turnwise.core.parameters import GenerationParams
from turnwise.data.prompts import bundled_prompts, prompt_histories
from turnwise.data.sources import read_source
from turnwise.engine.engine import Engine
from turnwise.models.checkpoint import Checkpoint
from turnwise.models.model_folders import find_model_folder
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

BASE = "smollm2"
MAX_TOKENS = 220
# For each stage: prompts of the package, and the first row and the number of rows of each open set.
STAGES: tuple[tuple[int, dict[str, tuple[int, int]]], ...] = (
    (420, {"oasst1_en_pairs": (1500, 210), "dolly_nocontext": (2000, 140), "gsm8k": (3000, 105)}),
    (0, {"oasst1_en_pairs": (1710, 500), "dolly_nocontext": (2140, 700), "gsm8k": (3105, 200)}),
)


def histories(data: Path, num_package: int, rows: dict[str, tuple[int, int]]) -> Iterator[tuple[Message, ...]]:
    """Prompts; each ends with a user turn."""
    yield from islice(bundled_prompts(77), num_package)
    for name, (start, count) in rows.items():
        items = islice(read_source(data / name / "train.jsonl.gz"), start, start + count)
        yield from prompt_histories((item for item in items if isinstance(item, Conversation)), 3)


def main(data: Path, out: Path, stage: int) -> None:
    """Write the file of one stage."""
    folder = find_model_folder(BASE)
    tokenizer = Tokenizer.load(out / "tokenizer")
    renderer = Renderer.from_tokenizer(tokenizer)
    engine = Engine(Checkpoint(folder, dtype=torch.float32), max_num_seqs=32)
    prompts = list(histories(data, *STAGES[stage - 1]))

    def request(history: tuple[Message, ...], number: int) -> GenerationRequest:
        params = GenerationParams(temperature=0.8, top_p=0.95, seed=number) if number % 3 == 0 else None
        return GenerationRequest(
            prompt_ids=tuple(renderer.render(history, add_generation_prompt=True).ids),
            params=params or GenerationParams(temperature=0),
            max_tokens=MAX_TOKENS,
            stop_ids=tokenizer.stop_ids,
        )

    requests = ((request(history, number), None) for number, history in enumerate(prompts))
    num_written = 0
    with (
        closing(InferenceClient(engine).generate_all(requests)) as generations,
        (out / f"replay_{stage}.jsonl").open("w") as file,
    ):
        for number, (history, generation) in enumerate(zip(prompts, generations, strict=True), 1):
            if generation.finish_reason == "stop":
                num_written += 1
                reply = tokenizer.decode(generation.token_ids)
                earlier = [
                    message.as_dict() | ({"weight": 0} if message.role == "assistant" else {}) for message in history
                ]
                row = {"messages": [*earlier, {"role": "assistant", "content": reply}], "meta": {"source": "replay"}}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if number % 50 == 0:
                print(f"{number} of {len(prompts)} prompts, {num_written} replies", flush=True)
    engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stage", type=int, default=1, choices=range(1, len(STAGES) + 1))
    options = parser.parse_args()
    main(options.data, options.out, options.stage)
