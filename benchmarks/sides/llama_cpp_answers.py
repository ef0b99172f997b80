"""Greedy answers and log-probabilities by llama.cpp: llama_cpp_answers.py FILE.gguf THREADS < INPUT > OUTPUT

INPUT and OUTPUT are JSON. INPUT: `prompts` and `texts`, lists of token ids; `new`, tokens to generate for a prompt;
`logits_file`, for the logits after each token of the first `num_exact` texts. OUTPUT: `answers`, token ids; `losses`,
the sum of negative log-probabilities of each text after its first token; `top_ids`, the most likely ids after each
token of a text. It runs in an environment of its own that has llama-cpp-python, and does not import Turnwise.
"""

import json
import sys
from typing import Any

import llama_cpp
import numpy as np

CONTEXT = 1024


def main(path: str, threads: int) -> None:
    """Read the input, write the output."""
    given: dict[str, Any] = json.load(sys.stdin)
    model = llama_cpp.Llama(
        path, n_ctx=CONTEXT, n_batch=512, n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False
    )

    def logits(start: int, end: int) -> np.ndarray:
        return np.asarray(model.scores[start:end], dtype=np.float64)

    answers, losses, top_ids, exact_logits = [], [], [], []
    for prompt in given["prompts"]:
        model.reset()
        model.eval(prompt)
        answer: list[int] = []
        while len(answer) < given["new"]:
            position = len(prompt) + len(answer) - 1
            answer.append(int(logits(position, position + 1).argmax()))
            model.eval(answer[-1:])
        answers.append(answer)
    for text in given["texts"]:
        model.reset()
        model.eval(text)
        if len(exact_logits) < given["num_exact"]:
            exact_logits.append(logits(0, len(text)))
        top_ids.append([int(id) for id in logits(0, len(text)).argmax(-1)])
        scores = logits(0, len(text) - 1)
        scores -= scores.max(-1, keepdims=True)
        log_probs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        losses.append(-float(log_probs[np.arange(len(text) - 1), text[1:]].sum()))
    np.savez(given["logits_file"], *exact_logits)
    json.dump({"answers": answers, "losses": losses, "top_ids": top_ids}, sys.stdout)


main(sys.argv[1], int(sys.argv[2]))
