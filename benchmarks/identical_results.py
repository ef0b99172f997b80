"""Checks that a code change leaves all results identical to the last bit.

    python benchmarks/identical_results.py --out before.json           in a checkout before the change
    python benchmarks/identical_results.py --compare before.json       after it

The check uses only the command line and the HTTP API, so it does not depend on names in the code. Models are the
default model and small random models of several families. Generation sends fixed requests: greedy decoding, seeded
sampling with every warper and processor, beam search, contrastive search, grammars, tool calls, scored prompts and
embeddings; log-probabilities are compared to the last bit. Training makes short runs of every objective and of several
methods and optimizers; losses, gradient norms and saved weights are compared.

It needs the extras `transformers` and `adapters` and takes about ten minutes on two cores. Compare only runs on the
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
SAMPLED = {"seed": 7, "temperature": 2.0}  # a flat distribution, in which truncation changes many samples

# Requests to /v1/chat/completions by name. Result files contain the names; a renamed request cannot be compared.
CHATS: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "drawn": SAMPLED,
    "top_k": {**SAMPLED, "top_k": 20},
    "top_p": {**SAMPLED, "top_p": 0.8},
    "min_p": {**SAMPLED, "min_p": 0.1},
    "typical_p": {**SAMPLED, "typical_p": 0.7},
    "epsilon_cutoff": {**SAMPLED, "epsilon_cutoff": 0.001},
    "eta_cutoff": {**SAMPLED, "eta_cutoff": 0.001},
    "top_n_sigma": {**SAMPLED, "top_n_sigma": 2.0},
    "penalties": {**SAMPLED, "presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.2},
    "no repeated pairs": {**GREEDY, "no_repeat_ngram_size": 2, "min_tokens": 20},
    "bias and bad words": {**SAMPLED, "logit_bias": {"300": 2.5, "400": -3}, "bad_words": ["order", " the"]},
    "stop": {**GREEDY, "stop": ["you", "."]},
    "several": {**SAMPLED, "n": 3},
    "best of several": {**SAMPLED, "n": 1, "best_of": 4},
    "beams": {"num_beams": 4, "n": 2},
    "groups of beams": {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 1.5, "n": 3, "length_penalty": 0.5},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "schema": {**SAMPLED, "response_format": SCHEMA},
    "beams under a schema": {"num_beams": 3, "response_format": SCHEMA},
    "tool": {**SAMPLED, "tools": [TOOL], "tool_choice": "required"},
    "prediction": {
        **GREEDY,
        "prediction": {"type": "content", "content": "You can cancel your order in your account."},
    },
}
# Options of short training runs by name; the same holds for these names.
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
# Ids, times and error messages; also counts of prediction tokens, since the number of drafts depends on measured times.
VOLATILE = re.compile(
    r'"(id|created|request_id|system_fingerprint|tool_call_id|message|(?:accepted|rejected)_prediction_tokens)": '
    r'("(?:[^"\\]|\\.)*"|[0-9]+)'
)


def digest(value: object) -> str:
    """A short hash of a JSON value, without the fields that differ between runs."""
    text = VOLATILE.sub(r'"\1": null', json.dumps(value, sort_keys=True))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def turnwise(*arguments: object, **environment: str) -> None:
    """Run a `turnwise` command; exit with its output if it fails."""
    command = [sys.executable, "-m", "turnwise", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")


def random_models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Create small random models of several families with transformers and the tokenizer of the bundled model."""
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
    vocab_size, eos = len(tokenizer), tokenizer.eos_token_id
    common = {"vocab_size": vocab_size, "bos_token_id": None, "eos_token_id": eos, "pad_token_id": None}
    shape = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 3, "num_attention_heads": 4}
    gqa = {"num_key_value_heads": 2, "max_position_embeddings": 512}
    t5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": eos}
    for name, build in {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**common, **shape, **gqa)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**common, **shape, **gqa)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**common, n_embd=64, n_layer=3, n_head=4, n_positions=512)),
        "t5": lambda: T5ForConditionalGeneration(T5Config(**{**common, "pad_token_id": eos}, **t5)),
    }.items():
        torch.manual_seed(11)
        model = build()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4)  # sharper distributions than with initial weights
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        yield name, folder / name


@contextmanager
def start_server(*options: object) -> Iterator[httpx.Client]:
    """Start `turnwise serve` with these options; yield a client."""
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


def hash_responses(client: httpx.Client) -> dict[str, str]:
    """Hashes of a server's responses by request name; errors are responses as well."""
    hashes = {}
    for name, options in CHATS.items():
        body = {"model": "latest", "messages": QUESTION, "max_tokens": 40, "logprobs": True, "top_logprobs": 3}
        body |= options
        hashes[name] = digest(client.post("/v1/chat/completions", json=body).json())
    scored = {"model": "latest", "prompt": "The order was cancelled.", "echo": True, "logprobs": 2, "max_tokens": 0}
    hashes["scored prompt"] = digest(client.post("/v1/completions", json=scored).json())
    texts = {"model": "latest", "input": ["The order was cancelled.", "No."], "encoding_format": "float"}
    hashes["embeddings"] = digest(client.post("/v1/embeddings", json=texts).json())
    return hashes


def hash_run(folder: Path) -> str:
    """Hash of a training run: losses and gradient norms of its steps, and its weights."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    keys = ("step", "loss", "grad_norm", "valid_loss")
    steps = [{key: record[key] for key in keys if key in record} for record in records]
    weight_files = sorted(folder.glob("*.safetensors"))
    assert len(steps) > 3, folder
    assert weight_files, folder
    return digest([steps, *(hashlib.sha256(_tensor_bytes(path)).hexdigest() for path in weight_files)])


def _tensor_bytes(path: Path) -> bytes:
    """The content of a safetensors file without its header, which may have free text."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def hash_training(folder: Path) -> Iterator[tuple[str, str]]:
    """Run short trainings with all recipes and with `RUNS`; yield names and hashes."""
    dialogues, data = folder / "bikes.jsonl", folder / "data"
    turnwise("data", "expand", ROOT / "examples" / "bike_shop.yaml", "--count", 80, "--seed", 1, "--out", dialogues)
    subprocess.run([sys.executable, ROOT / "recipes" / "prepare.py", dialogues, data], check=True, capture_output=True)
    short_run = ["--max-steps", 4, "--evaluation", "none"]
    for recipe in sorted((ROOT / "recipes" / "objectives").glob("*.yaml")):
        out = folder / f"recipe-{recipe.stem}"
        base_model = ["--base-model", "box"] if "runs/sft" in recipe.read_text(encoding="utf-8") else []
        turnwise("train", recipe, "--out", out, *short_run, *base_model, DATA=str(data))
        yield f"recipe {recipe.stem}", hash_run(out)
    for name, options in RUNS.items():
        out = folder / f"run-{name.replace(' ', '-')}"
        turnwise("train", dialogues, "--out", out, *short_run, *options)
        yield f"run {name}", hash_run(out)


def measure(parts: Sequence[str]) -> dict[str, str]:
    """Hashes of these parts by name, each printed when it is computed."""
    hashes: dict[str, str] = {}

    def record(name: str, value: str) -> None:
        hashes[name] = value
        print(f"{value}  {name}", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        servers: list[tuple[str, list[object]]] = [("bundled", []), ("bundled int8", ["--quantize", "int8"])]
        servers += [(name, [path]) for name, path in random_models(folder)]
        for model, options in servers if "generation" in parts else []:
            with start_server(*options) as client:
                for name, value in hash_responses(client).items():
                    record(f"{model}, {name}", value)
        for name, value in hash_training(folder) if "training" in parts else []:
            record(name, value)
    return hashes


def main() -> None:
    """Compute the hashes, and write or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the hashes to this file")
    parser.add_argument("--compare", type=Path, help="compare the hashes with this file; exit status 1 if any differ")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    args = parser.parse_args()
    hashes = measure(args.parts)
    if args.out:
        args.out.write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
    if args.compare:
        before = json.loads(args.compare.read_text(encoding="utf-8"))
        if set(args.parts) != set(PARTS):
            before = {name: value for name, value in before.items() if name in hashes}
        different = sorted(name for name in before.keys() | hashes.keys() if before.get(name) != hashes.get(name))
        print(f"{len(hashes) - len(different)} of {len(before)} results are identical.")
        if different:
            sys.exit("Different: " + "; ".join(different))


if __name__ == "__main__":
    main()
