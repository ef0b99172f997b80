"""Peak and final memory of opening one model for serving: loading_memory.py MODEL [--quantize int8|int4]

Prints the resident memory before the model is opened, the peak and the final memory above it, and their ratio. A
bundled model is opened and closed first, so that libraries and their buffers are not counted (Linux only).
"""

import argparse
import gc
from pathlib import Path

import torch

from turnwise.engine.engine import Engine
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.models.checkpoint import Checkpoint
from turnwise.models.model_folders import find_model_folder


def memory(name: str) -> float:
    """An entry of /proc/self/status in MB: VmRSS (resident now) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder, GGUF file or name")
    parser.add_argument("--quantize", choices=["int8", "int4"])
    args = parser.parse_args()
    Engine(Checkpoint(bundled_model_folder(), dtype=torch.float32), max_num_seqs=1).close()  # loads the libraries
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start = memory("VmRSS")
    weights = Checkpoint(find_model_folder(args.model), dtype=torch.float32)
    engine = Engine(weights, max_num_seqs=32, quantize=args.quantize)
    gc.collect()
    peak, final = memory("VmHWM") - start, memory("VmRSS") - start
    engine.close()
    print(
        f"{args.model} {args.quantize or 'as stored'}: {start:,.0f} MB before, {peak:,.0f} MB peak, "
        f"{final:,.0f} MB final, ratio {peak / final:.2f}"
    )


if __name__ == "__main__":
    main()
