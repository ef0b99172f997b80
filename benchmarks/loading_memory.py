"""Peak memory while a model is opened for serving, beside what stays: loading_memory.py MODEL [--quantize int8|int4]

Prints resident memory of the process before, the peak while loading, and afterwards, and the ratio of peak to what
stays, both without what Python and torch take (Linux only).
"""

import argparse
import gc
from pathlib import Path

import torch

from turnwise.engine.engine import Engine
from turnwise.models.checkpoint import Checkpoint
from turnwise.models.model_folders import find_model_folder


def memory(name: str) -> float:
    """A line of /proc/self/status in MB: VmRSS (resident now) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--quantize", choices=["int8", "int4"])
    options = parser.parse_args()
    Engine(Checkpoint(find_model_folder("src/turnwise/box"), dtype=torch.float32), max_num_seqs=1).close()  # libraries
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory("VmRSS")
    weights = Checkpoint(find_model_folder(options.model), dtype=torch.float32)
    engine = Engine(weights, max_num_seqs=32, quantize=options.quantize)
    gc.collect()
    peak, after = memory("VmHWM") - before, memory("VmRSS") - before
    engine.close()
    print(
        f"{options.model} {options.quantize or 'as stored'}: {before:,.0f} MB before, {peak:,.0f} MB peak, "
        f"{after:,.0f} MB stays, ratio {peak / after:.2f}"
    )


if __name__ == "__main__":
    main()
