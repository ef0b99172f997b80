"""A GGUF file in Turnwise, in llama.cpp and dequantized: greedy tokens, perplexity and logits.

    python benchmarks/gguf_parity.py FILE.gguf TEXTS --llama-python VENV/bin/python

TEXTS is a file of dialogues or texts. Greedy tokens: `--prompts` prompts of 32 tokens, 32 new tokens each. Perplexity:
of `--texts` texts of up to 512 tokens. Logits: after the first texts, beside the dequantized weights in float64; with
quantized activations, as the engine and llama.cpp compute, and with `--dtype float32`.
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


def loss(logits: torch.Tensor, text: list[int]) -> float:
    """Sum of negative log-probabilities of a text after its first token."""
    log_probs = logits[:-1].double().log_softmax(-1)
    return -float(log_probs.gather(1, torch.tensor(text[1:])[:, None]).sum())


def mean_error(actual: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Norm of the difference by the norm of the expected logits, a mean over texts."""
    pairs = zip(actual, expected, strict=False)  # the first texts have expected logits
    return float(np.mean([float((a.double() - e).norm() / e.norm()) for a, e in pairs]))


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
    text_logits = [session.logits(text) for text in texts]
    losses = [loss(logits, text) for logits, text in zip(text_logits, texts, strict=True)]
    num_tokens = sum(len(text) - 1 for text in texts)
    print(f"{options.file.name}: {len(prompts)} prompts, {len(texts)} texts, {num_tokens:,} tokens")
    exact_logits: list[torch.Tensor] = []
    if options.exact:
        exact = Checkpoint(folder, dtype=torch.float64, dequantize=True).decoder()
        with torch.inference_mode():
            exact_logits = [exact.logits(exact(torch.tensor([text]))[0]) for text in texts[: options.exact]]
        floats = Session(Checkpoint(folder, dtype=torch.float32, dequantize=True), options.threads)
        error = mean_error([floats.logits(text) for text in texts[: options.exact]], exact_logits)
        print(f"logits beside float64: {error:.1e} with float32")
        print(f"logits beside float64: {mean_error(text_logits, exact_logits):.1e} as stored, with int8 activations")
    if options.llama_python is None:
        return
    with tempfile.TemporaryDirectory() as temporary:
        logits_file = f"{temporary}/logits.npz"
        given = {"prompts": prompts, "texts": texts, "new": NEW, "num_exact": options.exact, "logits_file": logits_file}
        command = [str(options.llama_python), str(SIDE), str(options.file), str(options.threads)]
        output = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True).stdout
        theirs = json.loads(output)
        stored = np.load(logits_file)
        their_logits = [torch.from_numpy(stored[name]) for name in stored.files]
    if exact_logits:
        print(f"logits beside float64: {mean_error(their_logits, exact_logits):.1e} in llama.cpp")
    pairs = list(zip(answers, theirs["answers"], strict=True))
    first = np.mean([mine[0] == other[0] for mine, other in pairs])
    same = np.mean([mine == other for mine, other in pairs])
    print(f"greedy: {first:.1%} of first tokens, {same:.1%} of answers of {NEW} tokens equal llama.cpp's")
    tops = [logits.argmax(-1).tolist() for logits in text_logits]
    equal = [
        a == b for mine, other in zip(tops, theirs["top_ids"], strict=True) for a, b in zip(mine, other, strict=True)
    ]
    print(f"most likely token after each token of the texts: {np.mean(equal):.1%} equal llama.cpp's")
    ours, other = np.exp(sum(losses) / num_tokens), np.exp(sum(theirs["losses"]) / num_tokens)
    print(f"perplexity: Turnwise {ours:.4f}, llama.cpp {other:.4f}, {ours / other - 1:+.3%}")


if __name__ == "__main__":
    main()
