"""A GGUF file in Turnwise, in llama.cpp and dequantized: greedy tokens, perplexity and logits.

    python benchmarks/gguf_parity.py FILE.gguf TEXTS --llama-python VENV/bin/python

TEXTS is a file of dialogues or texts. Dialogues are rendered with the chat template.

Greedy tokens: 32 new tokens for each of `--prompts` prompts. A prompt is the first 16 to 32 tokens of a text; shorter
texts are skipped. Perplexity: of `--texts` texts of 256 to 512 tokens; longer texts are cut, shorter ones skipped.
Logits: of the first `--exact` of these texts, relative to the dequantized weights in float64; both with quantized
activations, as the engine and llama.cpp compute, and with `--dtype float32`.
"""

import argparse
import json
import subprocess
import tempfile
from array import array
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.messages import Conversation
from turnwise.data.sources import read_source
from turnwise.engine.batch import BatchEntry
from turnwise.engine.kv_cache.block_pool import blocks_for
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.models.checkpoint import Checkpoint
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

PROMPT_TOKENS, NEW_TOKENS, TEXT_TOKENS = 32, 32, 512  # maximum for prompts and texts; the minimum is half of it
SIDE = Path(__file__).parent / "sides" / "llama_cpp_answers.py"


def token_texts(path: Path, tokenizer: Tokenizer, count: int, length: int) -> list[list[int]]:
    """Token ids of the first `count` texts with at least `length // 2` tokens, each cut to `length` tokens."""
    renderer = Renderer.from_tokenizer(tokenizer)
    items = read_source(path)
    encoded = (
        renderer.render(item.messages).ids if isinstance(item, Conversation) else tokenizer.encode(item.text)
        for item in items
    )
    return list(islice((list(ids[:length]) for ids in encoded if len(ids) >= length // 2), count))


class Session:
    """A runner with KV blocks for one sequence at a time."""

    def __init__(self, weights: Checkpoint, threads: int) -> None:
        self.runner = NativeRunner(weights, blocks_for(TEXT_TOKENS + NEW_TOKENS + 1), threads)
        self.blocks = array("i", range(blocks_for(TEXT_TOKENS + NEW_TOKENS + 1)))

    def logits(self, ids: list[int], start: int = 0) -> torch.Tensor:
        """Logits after each of the ids, `(T, V)`; the first `start` tokens of the sequence are in the KV cache."""
        return self.runner.forward([BatchEntry(self.blocks, start, ids, len(ids))])

    def answer(self, prompt: list[int]) -> list[int]:
        """The first `NEW_TOKENS` greedy tokens after a prompt."""
        answer = [int(self.logits(prompt)[-1].argmax())]
        while len(answer) < NEW_TOKENS:
            answer.append(int(self.logits(answer[-1:], len(prompt) + len(answer) - 1)[-1].argmax()))
        return answer


def loss(logits: torch.Tensor, text: list[int]) -> float:
    """Sum of the negative log-probabilities of a text's tokens, without the first one."""
    log_probs = logits[:-1].double().log_softmax(-1)
    return -float(log_probs.gather(1, torch.tensor(text[1:])[:, None]).sum())


def mean_error(actual: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Norm of the difference relative to the norm of the expected logits, mean over texts."""
    pairs = zip(actual, expected, strict=False)  # only the first texts have expected logits
    return float(np.mean([float((a.double() - e).norm() / e.norm()) for a, e in pairs]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a GGUF file")
    parser.add_argument("texts_file", type=Path, metavar="TEXTS", help="a file of dialogues or texts")
    parser.add_argument("--llama-python", type=Path, help="a Python with llama-cpp-python; default: no comparison")
    parser.add_argument("--prompts", type=int, default=200, help="number of prompts (default: 200)")
    parser.add_argument("--texts", type=int, default=40, help="number of texts for the perplexity (default: 40)")
    parser.add_argument(
        "--exact", type=int, default=5, help="texts whose logits are compared with float64 (default: 5)"
    )
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    folder = resolve_model_folder(str(args.file))
    tokenizer = Tokenizer.load(folder)
    prompts = token_texts(args.texts_file, tokenizer, args.prompts, PROMPT_TOKENS)
    texts = token_texts(args.texts_file, tokenizer, args.texts, TEXT_TOKENS)
    session = Session(Checkpoint(folder, dtype=torch.float32), args.threads)
    answers = [session.answer(prompt) for prompt in prompts]
    text_logits = [session.logits(text) for text in texts]
    losses = [loss(logits, text) for logits, text in zip(text_logits, texts, strict=True)]
    num_tokens = sum(len(text) - 1 for text in texts)
    print(f"{args.file.name}: {len(prompts)} prompts, {len(texts)} texts, {num_tokens:,} tokens")
    exact_logits: list[torch.Tensor] = []
    if args.exact:
        exact = Checkpoint(folder, dtype=torch.float64, dequantize=True).decoder()
        with torch.inference_mode():
            exact_logits = [exact.logits(exact(torch.tensor([text]))[0]) for text in texts[: args.exact]]
        dequantized = Session(Checkpoint(folder, dtype=torch.float32, dequantize=True), args.threads)
        error = mean_error([dequantized.logits(text) for text in texts[: args.exact]], exact_logits)
        print(f"error of the logits relative to float64: {error:.1e} with float32")
        error = mean_error(text_logits, exact_logits)
        print(f"error of the logits relative to float64: {error:.1e} as stored, with int8 activations")
    if args.llama_python is None:
        return
    with tempfile.TemporaryDirectory() as temporary:
        logits_file = f"{temporary}/logits.npz"
        job = {
            "prompts": prompts, "texts": texts, "new": NEW_TOKENS, "num_exact": args.exact, "logits_file": logits_file,
        }  # fmt: skip
        command = [str(args.llama_python), str(SIDE), str(args.file), str(args.threads)]
        output = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True).stdout
        llama_cpp = json.loads(output)
        arrays = np.load(logits_file)
        llama_cpp_logits = [torch.from_numpy(arrays[name]) for name in arrays.files]
    if exact_logits:
        error = mean_error(llama_cpp_logits, exact_logits)
        print(f"error of the logits relative to float64: {error:.1e} in llama.cpp")
    answer_pairs = list(zip(answers, llama_cpp["answers"], strict=True))
    equal_first = np.mean([ours[0] == theirs[0] for ours, theirs in answer_pairs])
    equal_answers = np.mean([ours == theirs for ours, theirs in answer_pairs])
    print(f"greedy: {equal_first:.1%} of first tokens, {equal_answers:.1%} of answers of {NEW_TOKENS} tokens equal "
          "llama.cpp's")  # fmt: skip
    top_ids = [logits.argmax(-1).tolist() for logits in text_logits]
    is_equal = [
        our_id == their_id
        for ours, theirs in zip(top_ids, llama_cpp["top_ids"], strict=True)
        for our_id, their_id in zip(ours, theirs, strict=True)
    ]
    print(f"most likely token after each token of the texts: {np.mean(is_equal):.1%} equal llama.cpp's")
    perplexity = np.exp(sum(losses) / num_tokens)
    llama_cpp_perplexity = np.exp(sum(llama_cpp["losses"]) / num_tokens)
    print(f"perplexity: Turnwise {perplexity:.4f}, llama.cpp {llama_cpp_perplexity:.4f}, "
          f"{perplexity / llama_cpp_perplexity - 1:+.3%}")  # fmt: skip


if __name__ == "__main__":
    main()
