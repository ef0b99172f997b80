"""Opening a model takes hardly more memory than keeping it, and one that does not fit is refused before it is read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from turnwise.core import system_memory as memory
from turnwise.core.errors import UserError
from turnwise.engine.engine import Engine
from turnwise.engine.native.library import libraries
from turnwise.engine.runners import memory_budget as room
from turnwise.models import transformers_checkpoint
from turnwise.models.adapters import LoraWeights, load_adapter, save_adapter
from turnwise.models.checkpoint import Checkpoint, create, load, save
from turnwise.models.decoder_config import DecoderConfig

SLACK = 80e6  # bytes: code of torch that is first used, threads, what is converted at a time
LAYERS = 12
pytestmark = pytest.mark.skipif(not libraries(), reason="torch's runner keeps layouts of its own")

PROGRAM = """
import gc, json, sys
from pathlib import Path
import torch
from turnwise.engine.engine import Engine
from turnwise.models.checkpoint import Checkpoint

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

folder, dtype, quantize = sys.argv[1], getattr(torch, sys.argv[2]), sys.argv[3] or None
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
engine = Engine(Checkpoint(folder, dtype=dtype), max_num_seqs=1, quantize=quantize)
gc.collect()
print(json.dumps({"peak": memory("VmHWM") - before, "kept": engine._runner.packed.nbytes}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint of 43M weights in bfloat16 (86 MB), one of the same in float32, and an adapter of the first."""
    config = DecoderConfig("llama", 8192, 512, 1408, LAYERS, 8, 8, 64, 512)
    place = tmp_path_factory.mktemp("loading")
    model = create(config, seed=0)
    save(model, place / "float32")
    save(model, place / "bfloat16", dtype=torch.bfloat16)
    (place / "adapter").mkdir()
    name = "model.layers.{}.self_attn.q_proj"
    changes = {name.format(i): LoraWeights(torch.randn(4, 512), torch.randn(512, 4)) for i in range(LAYERS)}
    save_adapter(place / "adapter", changes, base=place / "bfloat16", rank=4, alpha=8, dropout=0, task_type="CAUSAL_LM")
    return place


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak")
@pytest.mark.parametrize(
    ("folder", "dtype", "quantize"),
    [
        ("float32", "float32", ""),
        ("bfloat16", "float32", ""),
        ("bfloat16", "float32", "int8"),
        ("float32", "float32", "int4"),
        ("adapter", "float32", ""),
    ],
)
def test_the_peak_is_little_more_than_what_is_kept(folders, folder, dtype, quantize):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folders / folder), dtype, quantize],
        check=True,
        capture_output=True,
        text=True,
    )
    measured = json.loads(run.stdout)
    assert measured["peak"] <= 1.3 * measured["kept"] + SLACK


class TestWhatDoesNotFit:
    def test_is_refused_with_what_would_help(self, folders, monkeypatch):
        monkeypatch.setattr(room, "available_memory", lambda: 190_000_000)
        with pytest.raises(UserError) as caught:
            Engine(Checkpoint(folders / "bfloat16", dtype=torch.float32), max_num_seqs=1)
        said = str(caught.value)
        assert said.startswith("The model needs about 0.2 GB of memory, and 0.2 GB are available.")
        assert "--quantize int8 (about 0.2 GB) or --quantize int4" in said

    def test_is_refused_where_nothing_would_help(self, folders, monkeypatch):
        monkeypatch.setattr(room, "available_memory", lambda: 1_000_000)
        with pytest.raises(UserError, match="Close other programs or choose a smaller model"):
            Engine(Checkpoint(folders / "bfloat16", dtype=torch.float32), max_num_seqs=1)

    @pytest.mark.parametrize("quantize", [None, "int8", "int4"])
    @pytest.mark.parametrize("folder", ["float32", "bfloat16"])
    def test_the_estimate_is_what_is_kept(self, folders, folder, quantize):
        weights = Checkpoint(folders / folder, dtype=torch.float32)
        engine = Engine(weights, max_num_seqs=1, quantize=quantize)
        kept = engine._runner.packed.nbytes
        engine.close()
        assert room.estimate_weight_bytes(weights, quantize) == pytest.approx(kept, rel=0.1)


class TestEveryWayToLoad:
    """A sentence before anything is read, not the system's killer in the middle."""

    @pytest.fixture(autouse=True)
    def little(self, monkeypatch):
        monkeypatch.setattr(memory, "available_memory", lambda: 50_000)

    def test_a_decoder_to_train(self, folders):
        with pytest.raises(UserError, match=r"The model in .*float32 needs about 0.2 GB of memory, and 0.0 GB are"):
            load(folders / "float32")

    def test_a_model_that_transformers_computes(self, folders):
        pytest.importorskip("transformers")
        with pytest.raises(UserError, match=r"The model in .*bfloat16 needs about 0.2 GB of memory"):
            transformers_checkpoint.load(folders / "bfloat16")

    def test_an_adapter(self, folders):
        with pytest.raises(UserError, match=r"The adapter in .*adapter needs about 0.0 GB of memory"):
            load_adapter(folders / "adapter")


def limits(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


class TestContainers:
    def test_a_limit_and_what_is_used_of_it_count(self, tmp_path, monkeypatch):
        limits(tmp_path / "group", memory__max="500000000\n", memory__current="300000000\n",
               memory__stat="anon 1\ninactive_file 100000000\n")  # fmt: skip
        monkeypatch.setattr(memory, "CGROUP", tmp_path / "group")
        assert memory.total_memory() == 500_000_000
        assert memory.available_memory() == 300_000_000

    def test_an_older_kind_counts_too(self, tmp_path, monkeypatch):
        limits(tmp_path / "memory", memory__limit_in_bytes="400000000\n", memory__usage_in_bytes="100000000\n",
               memory__stat="total_inactive_file 0\n")  # fmt: skip
        monkeypatch.setattr(memory, "CGROUP", tmp_path / "nowhere")
        monkeypatch.setattr(memory, "CGROUP_V1", tmp_path / "memory")
        assert memory.total_memory() == 400_000_000
        assert memory.available_memory() == 300_000_000

    def test_no_limit_is_the_machine(self, tmp_path, monkeypatch):
        limits(tmp_path / "group", memory__max="max\n")
        monkeypatch.setattr(memory, "CGROUP", tmp_path / "group")
        monkeypatch.setattr(memory, "CGROUP_V1", tmp_path / "nowhere")
        assert 10**8 < memory.available_memory() <= memory.total_memory()
