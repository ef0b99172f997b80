"""`generate` of transformers as a side of peers.py: transformers_side.py FOLDER DTYPE

All prompts of a batch have the same length, so there is no padding.
"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

PROMPT_TOKENS = 128


def main() -> None:
    """For every line of standard input, `WIDTH NEW`, print the speeds as JSON."""
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2])).eval()

    def time_generation(ids_BT: torch.Tensor, new_tokens: int) -> float:
        start = time.perf_counter()
        model.generate(
            ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=new_tokens, min_new_tokens=new_tokens,
            do_sample=False, eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        return time.perf_counter() - start

    with torch.inference_mode():
        for line in sys.stdin:
            num_sequences, new_tokens = map(int, line.split())
            prompts = [
                [5 + (position * 7 + number * 13) % 4000 for position in range(PROMPT_TOKENS)]
                for number in range(num_sequences)
            ]
            ids_BT = torch.tensor(prompts)
            prefill, total = time_generation(ids_BT, 1), time_generation(ids_BT, new_tokens + 1)
            speeds = {
                "prefill": num_sequences * PROMPT_TOKENS / prefill,
                "decode": num_sequences * new_tokens / (total - prefill),
            }
            print(json.dumps(speeds), flush=True)


main()
