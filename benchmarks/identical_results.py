"""Checks that a change of the code left all results as they were, bit by bit.

    python benchmarks/identical_results.py --out before.json           in a checkout before the change
    python benchmarks/identical_results.py --compare before.json       after it

The program is used only through its command line and its HTTP interface, so the check outlives changes of names inside.
Models are the bundled one and small random ones of several families. Answered are fixed requests: greedy, seeded
samples under every warper and processor, beams, contrastive search, grammars, tool calls, scored prompts and
embeddings, all with log-probabilities to the last bit. Trained are short runs of every objective and of several
methods and optimizers; compared are losses, gradient norms and the saved weights.

It needs the extras `transformers` and `adapters`, takes about ten minutes on two cores, and compares only runs on the
same processor: other instructions round differently.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
QUESTION = [{"role": "user", "content": "Write two lines of a poem about rain."}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": WEATHER}}
GREEDY = {"temperature": 0}
DRAW = {"seed": 7, "temperature": 2.0}  # hot, so that what is cut off shows

# Requests to /v1/chat/completions by name.
CHATS: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "drawn": DRAW,
    "top_k": {**DRAW, "top_k": 20},
    "top_p": {**DRAW, "top_p": 0.8},
    "min_p": {**DRAW, "min_p": 0.1},
    "typical_p": {**DRAW, "typical_p": 0.7},
    "epsilon_cutoff": {**DRAW, "epsilon_cutoff": 0.001},
    "eta_cutoff": {**DRAW, "eta_cutoff": 0.001},
    "top_n_sigma": {**DRAW, "top_n_sigma": 2.0},
    "penalties": {**DRAW, "presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.2},
    "no repeated pairs": {**GREEDY, "no_repeat_ngram_size": 2, "min_tokens": 20},
    "bias and bad words": {**DRAW, "logit_bias": {"300": 2.5, "400": -3}, "bad_words": ["order", " the"]},
    "stop": {**GREEDY, "stop": ["you", "."]},
    "several": {**DRAW, "n": 3},
    "best of several": {**DRAW, "n": 1, "best_of": 4},
    "beams": {"num_beams": 4, "n": 2},
    "groups of beams": {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 1.5, "n": 3, "length_penalty": 0.5},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "schema": {**DRAW, "response_format": SCHEMA},
    "beams under a schema": {"num_beams": 3, "response_format": SCHEMA},
    "tool": {**DRAW, "tools": [TOOL], "tool_choice": "required"},
    "prediction": {
        **GREEDY,
        "prediction": {"type": "content", "content": "You can cancel your order in your account."},
    },
}
# Objectives and methods by name: the options of a run of a few steps.
RUNS: dict[str, list[str]] = {
    "sft": [],
    "clm": ["--objective", "clm"],
    "freeze": ["--method", "freeze:last_layers=2"],
    "lora": ["--method", "lora:rank=4"],
    "dora in 8 bits": ["--method", "lora:rank=4,dora=true,quantize=int8"],
    "prompt tuning": ["--method", "prompt_tuning:num_virtual_tokens=4"],
    "replay": ["--replay-ratio", "0.5"],
}
PARTS = ["generation", "training"]
# Ids, times, the words of errors, and how many tokens of a prediction were tried, which measured times decide.
VOLATILE = re.compile(
    r'"(id|created|request_id|system_fingerprint|tool_call_id|message|(?:accepted|rejected)_prediction_tokens)": '
    r'("(?:[^"\\]|\\.)*"|[0-9]+)'
)


def digest(value: object) -> str:
    """A short fingerprint of a JSON value, without what may differ between runs."""
    text = VOLATILE.sub(r'"\1": null', json.dumps(value, sort_keys=True))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def turnwise(*arguments: object, **environment: str) -> None:
    """Run a command; its output is shown only where it fails."""
    command = [sys.executable, "-m", "turnwise", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")


def random_models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Small random models of several families, made by transformers with the tokenizer of the bundled model."""
    import torch
    import transformers
    from transformers import (
        AutoTokenizer,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        T5Config,
        T5ForConditionalGeneration,
    )

    transformers.utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "src" / "turnwise" / "box")
    vocabulary, end = len(tokenizer), tokenizer.eos_token_id
    common = {"vocab_size": vocabulary, "bos_token_id": None, "eos_token_id": end, "pad_token_id": None}
    shape = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 3, "num_attention_heads": 4}
    wide = {"num_key_value_heads": 2, "max_position_embeddings": 512}
    t5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": end}
    for name, build in {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**common, **shape, **wide)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**common, **shape, **wide)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**common, n_embd=64, n_layer=3, n_head=4, n_positions=512)),
        "t5": lambda: T5ForConditionalGeneration(T5Config(**{**common, "pad_token_id": end}, **t5)),
    }.items():
        torch.manual_seed(11)
        model = build()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4)  # sharper distributions than those of fresh weights
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        yield name, folder / name


@contextmanager
def served(*options: object) -> Iterator[httpx.Client]:
    """A server with these options, and a client of it."""
    command = [
        sys.executable,
        "-m",
        "turnwise",
        "serve",
        *map(str, options),
        "--port",
        "0",
        "--store",
        "sqlite:///:memory:",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        lines = []
        for line in server.stdout:
            lines.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            sys.exit("".join(lines))
        try:
            with httpx.Client(base_url=address.group(), timeout=300) as client:
                yield client
        finally:
            server.terminate()


def answers(client: httpx.Client) -> dict[str, str]:
    """Fingerprints of what a server answers; an error counts as an answer."""
    prints = {}
    for name, options in CHATS.items():
        body = {"model": "latest", "messages": QUESTION, "max_tokens": 40, "logprobs": True, "top_logprobs": 3}
        body |= options
        prints[name] = digest(client.post("/v1/chat/completions", json=body).json())
    scored = {"model": "latest", "prompt": "The order was cancelled.", "echo": True, "logprobs": 2, "max_tokens": 0}
    prints["scored prompt"] = digest(client.post("/v1/completions", json=scored).json())
    texts = {"model": "latest", "input": ["The order was cancelled.", "No."], "encoding_format": "float"}
    prints["embeddings"] = digest(client.post("/v1/embeddings", json=texts).json())
    return prints


def losses(folder: Path) -> str:
    """The fingerprint of a run: losses and gradient norms of its steps, and the bytes of its weights."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [{key: line[key] for key in ("step", "loss", "grad_norm", "valid_loss") if key in line} for line in lines]
    weights = sorted(folder.glob("*.safetensors"))
    assert len(kept) > 3, folder
    assert weights, folder
    return digest([kept, *(hashlib.sha256(_tensors(path)).hexdigest() for path in weights)])


def _tensors(path: Path) -> bytes:
    """A safetensors file without its header, which has free text."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def trained(folder: Path) -> Iterator[tuple[str, str]]:
    """Fingerprints of short runs of all recipes and of `RUNS`."""
    dialogues, data = folder / "bikes.jsonl", folder / "data"
    turnwise("data", "expand", ROOT / "examples" / "bike_shop.yaml", "--count", 80, "--seed", 1, "--out", dialogues)
    subprocess.run([sys.executable, ROOT / "recipes" / "prepare.py", dialogues, data], check=True, capture_output=True)
    short = ["--max-steps", 4, "--evaluation", "none"]
    for recipe in sorted((ROOT / "recipes" / "objectives").glob("*.yaml")):
        out = folder / f"recipe-{recipe.stem}"
        start = ["--base-model", "box"] if "runs/sft" in recipe.read_text(encoding="utf-8") else []
        turnwise("train", recipe, "--out", out, *short, *start, DATA=str(data))
        yield f"recipe {recipe.stem}", losses(out)
    for name, options in RUNS.items():
        out = folder / f"run-{name.replace(' ', '-')}"
        turnwise("train", dialogues, "--out", out, *short, *options)
        yield f"run {name}", losses(out)


def measure(parts: Sequence[str]) -> dict[str, str]:
    """All fingerprints of these parts by name, printed as they come."""
    prints: dict[str, str] = {}

    def note(name: str, value: str) -> None:
        prints[name] = value
        print(f"{value}  {name}", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        servers: list[tuple[str, list[object]]] = [("bundled", []), ("bundled int8", ["--quantize", "int8"])]
        servers += [(name, [path]) for name, path in random_models(folder)]
        for model, options in servers if "generation" in parts else []:
            with served(*options) as client:
                for name, value in answers(client).items():
                    note(f"{model}, {name}", value)
        for name, value in trained(folder) if "training" in parts else []:
            note(name, value)
    return prints


def main() -> None:
    """Measure, and write the fingerprints or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the fingerprints to this file")
    parser.add_argument("--compare", type=Path, help="compare them with this file; exit status 1 where they differ")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    prints = measure(options.parts)
    if options.out:
        options.out.write_text(json.dumps(prints, indent=1) + "\n", encoding="utf-8")
    if options.compare:
        before = json.loads(options.compare.read_text(encoding="utf-8"))
        if "training" not in options.parts or "generation" not in options.parts:
            before = {name: value for name, value in before.items() if name in prints}
        different = sorted(name for name in before.keys() | prints.keys() if before.get(name) != prints.get(name))
        print(f"{len(prints) - len(different)} of {len(before)} results are identical.")
        if different:
            sys.exit("Different: " + "; ".join(different))


if __name__ == "__main__":
    main()
