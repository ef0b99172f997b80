"""Measures the page of the data sets: reading a large file, pages in the middle of it, a search, and the memory.

python benchmarks/dataset_pages.py
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from turnwise.app.datasets.dataset_library import FolderDatasetLibrary

NAME = "many.jsonl"


def write_dialogues(path: Path, count: int) -> None:
    """Write `count` dialogues of about 500 bytes."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            question = f"Question {number}: how does number {number * 7919 % 1000} work? " * 3
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": f"Answer {number}. " * 20},
            ]
            file.write(json.dumps({"messages": messages, "meta": {"number": number}}) + "\n")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="number of dialogues")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder, FolderDatasetLibrary(Path(folder) / "datasets") as library:
        source = Path(folder) / "upload"
        write_dialogues(source, count)
        print(f"{count:,} dialogues, {source.stat().st_size / 1e6:.0f} MB")
        start = time.perf_counter()
        library.add(source, NAME)
        print(f"added in {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        library.page(NAME, 0, 20)
        print(f"first page after {time.perf_counter() - start:.2f} s")
        while library.check(NAME).state == "running":
            time.sleep(0.05)
        print(f"read and checked in {time.perf_counter() - start:.1f} s")
        for offset in (0, count * 9 // 10, count - 20):
            start = time.perf_counter()
            library.page(NAME, offset, 20)
            print(f"page at {offset:,}: {1000 * (time.perf_counter() - start):.2f} ms")
        start = time.perf_counter()
        results = library.search(NAME, f"answer {count - 10}.", 0, 20)
        print(f"search: {time.perf_counter() - start:.2f} s, {len(results.rows)} row")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
