"""A classifier of Turnwise as a side of classification.py: turnwise_classification_side.py FOLDER TEXTS THREADS [int8]

TEXTS is a JSON file with a list of texts.
"""

import json
import sys
import time
from pathlib import Path

from turnwise.app.classifiers import open_classifier


def main() -> None:
    """For every line of standard input, `BATCH COUNT`, print seconds and the first results as JSON."""
    quantize = sys.argv[4] if len(sys.argv) > 4 else None
    classifier = open_classifier(sys.argv[1], quantize=quantize, threads=int(sys.argv[3]))
    all_texts = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    is_tagger = classifier.config.task == "token_classification"
    label = classifier.tag if is_tagger else classifier.classify
    for line in sys.stdin:
        batch, count = map(int, line.split())
        texts = all_texts[:count]
        start = time.perf_counter()
        results = [result for i in range(0, len(texts), batch) for result in label(texts[i : i + batch])]
        seconds = time.perf_counter() - start
        if is_tagger:
            first = [[[span.start, span.end, span.label] for span in result.spans] for result in results[:100]]
        else:
            first = [result.scores[0].label for result in results[:100]]
        print(json.dumps({"seconds": seconds, "results": first}), flush=True)


main()
