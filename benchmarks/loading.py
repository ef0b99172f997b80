"""How much memory opening a model takes, beside what it keeps: peak and final, by type of weights.

    python benchmarks/loading.py --parameters 500e6

A checkpoint of random weights is made in a temporary folder and deleted at the end. Each type is opened in a process of
its own; memory is what that process has beyond its imports. "merged" and "beside" open a LoRA adapter of the model.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HIDDEN, INNER, HEADS, VOCABULARY = 1024, 2816, 16, 32_000
KINDS = {"float32": None, "bfloat16": None, "int8": "int8", "int4": "int4", "merged": None, "beside": None}


def make(folder: Path, parameters: float, dtype: str) -> None:
    """A Llama of about so many parameters, written tensor by tensor."""
    import torch
    from safetensors.torch import save_file

    from turnwise.models.decoder import Decoder
    from turnwise.models.decoder_config import DecoderConfig
    from turnwise.models.families import load_family

    layer = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER
    layers = max(1, round((parameters - VOCABULARY * HIDDEN) / layer))
    config = DecoderConfig(
        "llama", VOCABULARY, HIDDEN, INNER, layers, HEADS, HEADS, HIDDEN // HEADS, 2048
    )  # fmt: skip
    kind = load_family("llama")
    folder.mkdir(parents=True)
    published = {"model_type": "llama", "architectures": [kind.ARCHITECTURE], **kind.write(config)}
    (folder / "config.json").write_text(json.dumps(published))
    with torch.device("meta"):
        shapes = {name: parameter.shape for name, parameter in Decoder(config).named_parameters()}
    files: dict[str, str] = {}
    generator = torch.Generator().manual_seed(0)
    for number, entry in enumerate(kind.weight_mappings(config)):
        tensor = torch.randn(shapes[entry.decoder_name], generator=generator).mul_(0.02).to(getattr(torch, dtype))
        parts = {name: part.clone() for name, part in entry.to_hf(tensor)}
        save_file(parts, folder / f"part-{number}.safetensors")
        files |= dict.fromkeys(parts, f"part-{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def make_adapter(folder: Path, base: Path) -> None:
    """A LoRA of rank 8 on all queries."""
    import torch

    from turnwise.models.adapters import LoraWeights, save_adapter
    from turnwise.models.checkpoint import read_decoder_config

    folder.mkdir()
    changes = {
        f"model.layers.{i}.self_attn.q_proj": LoraWeights(torch.randn(8, HIDDEN), torch.randn(HIDDEN, 8))
        for i in range(read_decoder_config(base).num_layers)
    }
    save_adapter(folder, changes, base=base, rank=8, alpha=16, dropout=0.0, task_type="CAUSAL_LM")


def opened(folder: str, kind: str) -> None:
    """Open a model as `turnwise serve` does and print peak and final memory in bytes; runs in a process of its own."""
    import ctypes
    import gc

    from turnwise.app.shared_base_engines import SharedBaseEngines
    from turnwise.engine.engine import Engine
    from turnwise.models.checkpoint import Checkpoint
    from turnwise.models.dtypes import DTYPES

    def begin(source: Path) -> Engine:
        dtype = DTYPES["bfloat16" if kind == "bfloat16" else "float32"]
        return Engine(Checkpoint(source, dtype=dtype), max_num_seqs=1, quantize=KINDS[kind])

    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = _memory("VmRSS")
    engine = SharedBaseEngines().engine(Path(folder), begin, "cpu") if kind == "beside" else begin(Path(folder))
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    peak, final = _memory("VmHWM") - before, _memory("VmRSS") - before
    assert engine is not None
    print(json.dumps({"peak": peak, "final": final}), flush=True)


def _memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def main() -> None:
    """Make a checkpoint, open it in every way, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=float, default=500e6)
    parser.add_argument("--kinds", default=",".join(KINDS))
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        print(f"{said.parameters / 1e6:,.0f}M random weights\n\n| opened as | peak, MB | final, MB | peak / final |")
        print("| --- | --- | --- | --- |")
        for kind in said.kinds.split(","):
            base = Path(place) / ("wide" if kind == "float32" else "half")
            if not base.exists():
                make(base, said.parameters, "float32" if kind == "float32" else "bfloat16")
            folder = base
            if kind in ("merged", "beside"):
                folder = Path(place) / "adapter"
                if not folder.exists():
                    make_adapter(folder, base)
            run = subprocess.run(
                [sys.executable, __file__, "--open", str(folder), kind], check=True, capture_output=True, text=True
            )
            found = json.loads(run.stdout)
            ratio = found["peak"] / found["final"]
            print(f"| {kind} | {found['peak'] / 1e6:,.0f} | {found['final'] / 1e6:,.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--open"]:
        opened(*sys.argv[2:])
    else:
        main()
