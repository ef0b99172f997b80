"""The library of llama.cpp, without sampling, as a side of peers.py: llama_cpp_side.py FILE.gguf THREADS

The script needs llama-cpp-python and does not import Turnwise.
"""

import json
import sys
import time

import llama_cpp

PROMPT_TOKENS = 128

BatchRow = tuple[int, int, int, bool]
"""Token id, position, sequence, and whether to compute logits."""


def measure(model: object, num_sequences: int, new_tokens: int, threads: int) -> dict[str, float]:
    """Tokens per second: prefill of all prompts, one after the other, then decode steps with one token of each."""
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = num_sequences * (PROMPT_TOKENS + new_tokens + 8) + 256
    settings.n_batch, settings.n_ubatch, settings.n_seq_max = 2048, 512, num_sequences
    settings.n_threads = settings.n_threads_batch = threads
    settings.flash_attn_type, settings.kv_unified = 1, False
    context = llama_cpp.llama_init_from_model(model, settings)
    batch = llama_cpp.llama_batch_init(2048, 0, 1)

    def decode(rows: list[BatchRow]) -> None:
        batch.n_tokens = len(rows)
        for index, (token, position, sequence, needs_logits) in enumerate(rows):
            batch.token[index], batch.pos[index], batch.n_seq_id[index] = token, position, 1
            batch.seq_id[index][0], batch.logits[index] = sequence, needs_logits
        if llama_cpp.llama_decode(context, batch) != 0:
            raise RuntimeError("llama.cpp failed")
        llama_cpp.llama_synchronize(context)

    start = time.perf_counter()
    for sequence in range(num_sequences):
        decode([
            (5 + (position * 7 + sequence * 13) % 4000, position, sequence, position == PROMPT_TOKENS - 1)
            for position in range(PROMPT_TOKENS)
        ])  # fmt: skip
    prefill_end = time.perf_counter()
    for step in range(new_tokens):
        decode([
            (5 + (step * 3 + sequence) % 4000, PROMPT_TOKENS + step, sequence, True)
            for sequence in range(num_sequences)
        ])  # fmt: skip
    end = time.perf_counter()
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    return {
        "prefill": num_sequences * PROMPT_TOKENS / (prefill_end - start),
        "decode": num_sequences * new_tokens / (end - prefill_end),
    }


def main() -> None:
    """For every line of standard input, `WIDTH NEW`, print the speeds as JSON."""
    model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params())
    for line in sys.stdin:
        num_sequences, new_tokens = map(int, line.split())
        print(json.dumps(measure(model, num_sequences, new_tokens, int(sys.argv[2]))), flush=True)


main()
