"""An embedding model of Turnwise as a side of embedding_speed.py: turnwise_embedding_side.py FOLDER QUANTIZE THREADS"""

import asyncio
import json
import sys
import time

from embedding_texts import BATCH, mixed_texts

from turnwise.app.embedding_services import open_embedding_service
from turnwise.core.embedding_service import EmbeddingRequest


async def measure(line: str, service) -> dict[str, object]:
    """Seconds, tokens and the first vectors for one line of input, `MODE COUNT`."""
    mode, count = line.split()
    texts = mixed_texts(int(count))
    step = BATCH if mode == "batches" else len(texts)
    start = time.perf_counter()
    results = [
        await service.embed(EmbeddingRequest(texts[i : i + step], truncate_prompt_tokens=-1))
        for i in range(0, len(texts), step)
    ]
    seconds = time.perf_counter() - start
    num_tokens = sum(result.prompt_tokens for result in results)
    return {"seconds": seconds, "tokens": num_tokens, "vectors": results[0].vectors[:20]}


def main() -> None:
    """For every line of standard input, print the measurements as JSON."""
    quantize = None if sys.argv[2] == "float" else sys.argv[2]
    service = open_embedding_service(sys.argv[1], quantize=quantize, threads=int(sys.argv[3]))
    for line in sys.stdin:
        print(json.dumps(asyncio.run(measure(line, service))), flush=True)


main()
