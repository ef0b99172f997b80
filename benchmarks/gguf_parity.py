"""A GGUF file in Turnwise, in llama.cpp and dequantized: greedy tokens, perplexity and logits.

    python benchmarks/gguf_parity.py FILE.gguf TEXTS --llama-python VENV/bin/python

TEXTS is a file of dialogues or texts. Greedy tokens: `--prompts` prompts of 32 tokens, 32 new tokens each. Perplexity:
of `--texts` texts of up to 512 tokens. Logits: after the first texts, beside the dequantized weights in float64; with
quantized activations, as the engine and llama.cpp compute, and with `--dtype float32`.
"""

import argparse
import json
import subprocess
from array import array
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

PROMPT, NEW, TEXT = 32, 32, 512
SIDE = Path(__file__).parent / "sides" / "llama_cpp_answers.py"


def token_texts(path: Path, tokenizer: Tokenizer, count: int, length: int) -> list[list[int]]:
    """The first tokens of texts that have at least `length` // 2 of them."""
    renderer = Renderer.from_tokenizer(tokenizer)
    items = read_source(path)
    encoded = (
        renderer.render(item.messages).ids if isinstance(item, Conversation) else tokenizer.encode(item.text)
        for item in items
    )
    return list(islice((list(ids[:length]) for ids in encoded if len(ids) >= length // 2), count))


class Session:
    """One sequence at a time on a runner."""

    def __init__(self, weights: Checkpoint, threads: int) -> None:
        self.runner = NativeRunner(weights, blocks_for(TEXT + NEW + 1), threads)
        self.blocks = array("i", range(blocks_for(TEXT + NEW + 1)))

    def logits(self, ids: list[int], start: int = 0) -> torch.Tensor:
        """Logits after each of the ids, `(T, V)`; `start` tokens were computed before."""
        return self.runner.forward([BatchEntry(self.blocks, start, ids, len(ids))])

    def answer(self, prompt: list[int]) -> list[int]:
        """Greedy tokens."""
        answer = [int(self.logits(prompt)[-1].argmax())]
        while len(answer) < NEW:
            answer.append(int(self.logits(answer[-1:], len(prompt) + len(answer) - 1)[-1].argmax()))
        return answer

    def loss(self, text: list[int]) -> float:
        """Sum of negative log-probabilities after the first token."""
        log_probs = self.logits(text)[:-1].double().log_softmax(-1)
        return -float(log_probs.gather(1, torch.tensor(text[1:])[:, None]).sum())


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference by the norm of the expected logits."""
    return float((actual.double() - expected).norm() / expected.norm())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("texts_file", type=Path, metavar="TEXTS")
    parser.add_argument("--llama-python", type=Path)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--exact", type=int, default=5, help="texts whose logits are compared with float64")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    folder = resolve_model_folder(str(options.file))
    tokenizer = Tokenizer.load(folder)
    prompts = token_texts(options.texts_file, tokenizer, options.prompts, PROMPT)
    texts = token_texts(options.texts_file, tokenizer, options.texts, TEXT)
    session = Session(Checkpoint(folder, dtype=torch.float32), options.threads)
    answers = [session.answer(prompt) for prompt in prompts]
    losses = [session.loss(text) for text in texts]
    num_tokens = sum(len(text) - 1 for text in texts)
    print(f"{options.file.name}: {len(prompts)} prompts, {len(texts)} texts, {num_tokens:,} tokens")
    if options.llama_python is not None:
        given = {"prompts": prompts, "texts": texts, "new": NEW}
        command = [str(options.llama_python), str(SIDE), str(options.file), str(options.threads)]
        output = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True).stdout
        theirs = json.loads(output)
        pairs = list(zip(answers, theirs["answers"], strict=True))
        same = [mine == other for mine, other in pairs]
        equal = [a == b for mine, other in pairs for a, b in zip(mine, other, strict=True)]
        print(f"greedy: {np.mean(equal):.1%} of tokens, {np.mean(same):.1%} of answers equal to llama.cpp's")
        ours, other = np.exp(sum(losses) / num_tokens), np.exp(sum(theirs["losses"]) / num_tokens)
        print(f"perplexity: Turnwise {ours:.4f}, llama.cpp {other:.4f}, {ours / other - 1:+.3%}")
    if options.exact:
        exact = Checkpoint(folder, dtype=torch.float64, dequantize=True).decoder()
        floats = Session(Checkpoint(folder, dtype=torch.float32, dequantize=True), options.threads)
        with torch.inference_mode():
            expected_logits = [(text, exact.logits(exact(torch.tensor([text]))[0])) for text in texts[: options.exact]]
        blocks_error = np.mean([relative_error(session.logits(text), expected) for text, expected in expected_logits])
        float_error = np.mean([relative_error(floats.logits(text), expected) for text, expected in expected_logits])
        print(f"logits beside float64: {float_error:.1e} with floats, {blocks_error:.1e} with quantized activations")


if __name__ == "__main__":
    main()
