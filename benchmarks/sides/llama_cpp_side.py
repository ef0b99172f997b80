"""llama.cpp, at the level of its library, as a side of peers.py: llama_cpp_side.py FILE.gguf THREADS

It runs in an environment of its own that has llama-cpp-python, and knows nothing of Turnwise.
"""

import json
import sys
import time

import llama_cpp as library

PROMPT = 128


def measure(model: object, width: int, new: int, threads: int) -> dict[str, float]:
    """All prompts, one after the other, then `new` passes over one token of each."""
    settings = library.llama_context_default_params()
    settings.n_ctx = width * (PROMPT + new + 8) + 256
    settings.n_batch, settings.n_ubatch, settings.n_seq_max = 2048, 512, width
    settings.n_threads = settings.n_threads_batch = threads
    settings.flash_attn_type, settings.kv_unified = 1, False
    context = library.llama_init_from_model(model, settings)
    batch = library.llama_batch_init(2048, 0, 1)

    def read(rows: list[tuple[int, int, int, bool]]) -> None:
        batch.n_tokens = len(rows)
        for place, (token, position, line, wanted) in enumerate(rows):
            batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, position, 1
            batch.seq_id[place][0], batch.logits[place] = line, wanted
        if library.llama_decode(context, batch) != 0:
            raise RuntimeError("llama.cpp failed")
        library.llama_synchronize(context)

    start = time.perf_counter()
    for line in range(width):
        read([(5 + (at * 7 + line * 13) % 4000, at, line, at == PROMPT - 1) for at in range(PROMPT)])
    read_all = time.perf_counter()
    for step in range(new):
        read([(5 + (step * 3 + line) % 4000, PROMPT + step, line, True) for line in range(width)])
    end = time.perf_counter()
    library.llama_batch_free(batch)
    library.llama_free(context)
    return {"prefill": width * PROMPT / (read_all - start), "decode": width * new / (end - read_all)}


def main() -> None:
    """Answer every line of standard input, `WIDTH NEW`, with the figures as JSON."""
    model = library.llama_model_load_from_file(sys.argv[1].encode(), library.llama_model_default_params())
    for line in sys.stdin:
        width, new = map(int, line.split())
        print(json.dumps(measure(model, width, new, int(sys.argv[2]))), flush=True)


main()
