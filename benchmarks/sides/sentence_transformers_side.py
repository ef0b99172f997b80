"""sentence-transformers as a side of embedding_speed.py: sentence_transformers_side.py FOLDER PREFIX THREADS"""

import json
import sys
import time

import torch
from embedding_texts import BATCH, mixed_texts
from sentence_transformers import SentenceTransformer


def main() -> None:
    """For every line of standard input, `MODE COUNT`, print seconds and the first vectors as JSON."""
    torch.set_num_threads(int(sys.argv[3]))
    model = SentenceTransformer(sys.argv[1], device="cpu")
    for line in sys.stdin:
        mode, count = line.split()
        texts = [sys.argv[2] + text for text in mixed_texts(int(count))]
        step = BATCH if mode == "batches" else len(texts)
        start = time.perf_counter()
        chunks = [
            model.encode(texts[i : i + step], batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
            for i in range(0, len(texts), step)
        ]
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "vectors": chunks[0][:20].tolist()}), flush=True)


main()
