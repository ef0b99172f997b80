"""A pipeline of transformers as a side of classification.py: transformers_classification_side.py FOLDER TEXTS THREADS

TEXTS is a JSON file with a list of texts. The label of a word is that of its first token, as in Turnwise.
"""

import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoConfig, pipeline


def main() -> None:
    """For every line of standard input, `BATCH COUNT`, print seconds and the first results as JSON."""
    torch.set_num_threads(int(sys.argv[3]))
    is_tagger = AutoConfig.from_pretrained(sys.argv[1]).architectures[0].endswith("TokenClassification")
    task = "token-classification" if is_tagger else "text-classification"
    options = {"aggregation_strategy": "first"} if is_tagger else {"truncation": True, "top_k": 1}
    classifier = pipeline(task, model=sys.argv[1], device="cpu", dtype=torch.float32, **options)
    all_texts = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    for line in sys.stdin:
        batch, count = map(int, line.split())
        start = time.perf_counter()
        results = classifier(all_texts[:count], batch_size=batch)
        seconds = time.perf_counter() - start
        if is_tagger:
            first = [[[span["start"], span["end"], span["entity_group"]] for span in spans] for spans in results[:100]]
        else:
            first = [scores[0]["label"] for scores in results[:100]]
        print(json.dumps({"seconds": seconds, "results": first}), flush=True)


main()
