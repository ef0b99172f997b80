"""Greedy answers and log-probabilities by llama.cpp: llama_cpp_answers.py FILE.gguf THREADS < INPUT > OUTPUT

INPUT and OUTPUT are JSON. INPUT: `prompts` and `texts`, lists of token ids; `new`, number of tokens to generate for a
prompt; `logits_file`, where to write the logits after each token of the first `num_exact` texts. OUTPUT: `answers`,
token ids; `losses`, for each text the sum of the negative log-probabilities of all tokens but the first; `top_ids`, the
most likely ids after each token of a text. The script needs llama-cpp-python and does not import Turnwise.
"""

import json
import sys
from typing import Any

import llama_cpp
import numpy as np

CONTEXT = 1024


def main(path: str, threads: int) -> None:
    """Read the input, write the output."""
    job: dict[str, Any] = json.load(sys.stdin)
    model = llama_cpp.Llama(
        path, n_ctx=CONTEXT, n_batch=512, n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False
    )

    def logits(start: int, end: int) -> np.ndarray:
        return np.asarray(model.scores[start:end], dtype=np.float64)

    answers, losses, top_ids, exact_logits = [], [], [], []
    for prompt in job["prompts"]:
        model.reset()
        model.eval(prompt)
        answer: list[int] = []
        while len(answer) < job["new"]:
            position = len(prompt) + len(answer) - 1
            answer.append(int(logits(position, position + 1).argmax()))
            model.eval(answer[-1:])
        answers.append(answer)
    for text in job["texts"]:
        model.reset()
        model.eval(text)
        if len(exact_logits) < job["num_exact"]:
            exact_logits.append(logits(0, len(text)))
        top_ids.append([int(id) for id in logits(0, len(text)).argmax(-1)])
        scores = logits(0, len(text) - 1)
        scores -= scores.max(-1, keepdims=True)
        log_probs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        losses.append(-float(log_probs[np.arange(len(text) - 1), text[1:]].sum()))
    np.savez(job["logits_file"], *exact_logits)
    json.dump({"answers": answers, "losses": losses, "top_ids": top_ids}, sys.stdout)


main(sys.argv[1], int(sys.argv[2]))
