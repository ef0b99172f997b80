"""Peak and final memory of opening a model for serving, by type of weights.

    python benchmarks/loading.py --parameters 500e6

Creates a checkpoint with random weights in a temporary folder. Each kind is opened in its own process; memory is what
the process uses above its imports (Linux only). "merged" and "unmerged" open a LoRA adapter of the checkpoint.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HIDDEN, INTERMEDIATE, HEADS, VOCAB_SIZE = 1024, 2816, 16, 32_000
# Quantization by kind. Adapters and all kinds except "float32" use a checkpoint in bfloat16.
KINDS = {"float32": None, "bfloat16": None, "int8": "int8", "int4": "int4", "merged": None, "unmerged": None}


def create_checkpoint(folder: Path, parameters: float, dtype: str) -> None:
    """Write a random Llama checkpoint with about `parameters` parameters, tensor by tensor."""
    import torch
    from safetensors.torch import save_file

    from turnwise.models.decoder import Decoder
    from turnwise.models.decoder_config import DecoderConfig
    from turnwise.models.families import load_family

    layer_size = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INTERMEDIATE
    num_layers = max(1, round((parameters - VOCAB_SIZE * HIDDEN) / layer_size))
    config = DecoderConfig(
        "llama", VOCAB_SIZE, HIDDEN, INTERMEDIATE, num_layers, HEADS, HEADS, HIDDEN // HEADS, 2048
    )  # fmt: skip
    family = load_family("llama")
    folder.mkdir(parents=True)
    hf_config = {"model_type": "llama", "architectures": [family.ARCHITECTURE], **family.to_hf_config(config)}
    (folder / "config.json").write_text(json.dumps(hf_config))
    with torch.device("meta"):
        shapes = {name: parameter.shape for name, parameter in Decoder(config).named_parameters()}
    files: dict[str, str] = {}
    generator = torch.Generator().manual_seed(0)
    for number, mapping in enumerate(family.weight_mappings(config)):
        weight = torch.randn(shapes[mapping.decoder_name], generator=generator).mul_(0.02).to(getattr(torch, dtype))
        tensors = {name: tensor.clone() for name, tensor in mapping.to_hf(weight)}
        save_file(tensors, folder / f"part-{number}.safetensors")
        files |= dict.fromkeys(tensors, f"part-{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def create_adapter(folder: Path, base: Path) -> None:
    """Write a random LoRA adapter of rank 8 for the query projections."""
    import torch

    from turnwise.models.adapters import LoraWeights, save_adapter
    from turnwise.models.checkpoint import read_decoder_config

    folder.mkdir()
    weights = {
        f"model.layers.{i}.self_attn.q_proj": LoraWeights(torch.randn(8, HIDDEN), torch.randn(HIDDEN, 8))
        for i in range(read_decoder_config(base).num_layers)
    }
    save_adapter(folder, weights, base=base, rank=8, alpha=16, dropout=0.0, task_type="CAUSAL_LM")


def open_and_measure(folder: str, kind: str) -> None:
    """Open a model like `turnwise serve`; print peak and final memory in bytes. Runs in its own process."""
    import ctypes
    import gc

    from turnwise.app.shared_base_engines import SharedBaseEngines
    from turnwise.engine.engine import Engine
    from turnwise.models.checkpoint import Checkpoint
    from turnwise.models.dtypes import DTYPES

    def create_engine(source: Path) -> Engine:
        dtype = DTYPES["bfloat16" if kind == "bfloat16" else "float32"]
        return Engine(Checkpoint(source, dtype=dtype), max_num_seqs=1, quantize=KINDS[kind])

    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start = _memory("VmRSS")
    if kind == "unmerged":
        engine = SharedBaseEngines().open(ExitStack(), Path(folder), create_engine, "cpu")
    else:
        engine = create_engine(Path(folder))
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    peak, final = _memory("VmHWM") - start, _memory("VmRSS") - start
    assert engine is not None
    print(json.dumps({"peak": peak, "final": final}), flush=True)


def _memory(name: str) -> int:
    """An entry of /proc/self/status in bytes: VmRSS (resident now) or VmHWM (peak)."""
    entry = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(entry.split()[1])


def main() -> None:
    """Create the checkpoint, open it as every kind, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, default=500e6)
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds to measure, separated by commas (default: all)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{args.parameters / 1e6:,.0f}M random weights\n\n| opened as | peak, MB | final, MB | peak / final |")
        print("| --- | --- | --- | --- |")
        for kind in args.kinds.split(","):
            dtype = "float32" if kind == "float32" else "bfloat16"
            base = Path(temporary) / dtype
            if not base.exists():
                create_checkpoint(base, args.parameters, dtype)
            folder = base
            if kind in ("merged", "unmerged"):
                folder = Path(temporary) / "adapter"
                if not folder.exists():
                    create_adapter(folder, base)
            process = subprocess.run(
                [sys.executable, __file__, "--open", str(folder), kind], check=True, capture_output=True, text=True
            )
            memory = json.loads(process.stdout)
            ratio = memory["peak"] / memory["final"]
            print(f"| {kind} | {memory['peak'] / 1e6:,.0f} | {memory['final'] / 1e6:,.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--open"]:
        open_and_measure(*sys.argv[2:])
    else:
        main()
