"""transformers' generate as a side of peers.py: transformers_side.py FOLDER DTYPE

On a batch of prompts of one length, its best case.
"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

PROMPT = 128


def main() -> None:
    """Answer every line of standard input, `WIDTH NEW`, with the figures as JSON."""
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2])).eval()

    def generate(ids_BT: torch.Tensor, new: int) -> float:
        start = time.perf_counter()
        model.generate(
            ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=new, min_new_tokens=new, do_sample=False,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        return time.perf_counter() - start

    with torch.inference_mode():
        for line in sys.stdin:
            width, new = map(int, line.split())
            rows = [[5 + (place * 7 + row * 13) % 4000 for place in range(PROMPT)] for row in range(width)]
            ids_BT = torch.tensor(rows)
            first, both = generate(ids_BT, 1), generate(ids_BT, new + 1)
            print(json.dumps({"prefill": width * PROMPT / first, "decode": width * new / (both - first)}), flush=True)


main()
