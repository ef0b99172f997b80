"""Loading takes little more memory than the packed weights; a model that does not fit is rejected before it is read."""

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
from turnwise.engine.runners import memory_budget as memory_budget
from turnwise.models import transformers_checkpoint
from turnwise.models.adapters import LoraWeights, load_adapter, save_adapter
from turnwise.models.checkpoint import Checkpoint, create, load, save
from turnwise.models.decoder_config import DecoderConfig

SLACK = 80e6  # bytes: code of torch, threads, buffers of conversion
LAYERS = 12
pytestmark = pytest.mark.skipif(not libraries(), reason="torch's runner has other layouts")

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
print(json.dumps({"peak": memory("VmHWM") - before, "packed": engine._runner.packed.nbytes}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint of 43M weights in bfloat16 (86 MB), the same in float32, and an adapter of the first."""
    config = DecoderConfig("llama", 8192, 512, 1408, LAYERS, 8, 8, 64, 512)
    folder = tmp_path_factory.mktemp("loading")
    model = create(config, seed=0)
    save(model, folder / "float32")
    save(model, folder / "bfloat16", dtype=torch.bfloat16)
    (folder / "adapter").mkdir()
    name = "model.layers.{}.self_attn.q_proj"
    changes = {name.format(i): LoraWeights(torch.randn(4, 512), torch.randn(512, 4)) for i in range(LAYERS)}
    save_adapter(
        folder / "adapter", changes, base=folder / "bfloat16", rank=4, alpha=8, dropout=0, task_type="CAUSAL_LM"
    )
    return folder


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux reports the peak")
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
@pytest.mark.costly
def test_peak_memory_while_loading_is_little_more_than_the_packed_weights(folders, folder, dtype, quantize):
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folders / folder), dtype, quantize],
        check=True,
        capture_output=True,
        text=True,
    )
    measured = json.loads(process.stdout)
    assert measured["peak"] <= 1.3 * measured["packed"] + SLACK


class TestModelThatDoesNotFit:
    def test_is_rejected_with_quantization_options_that_fit(self, folders, monkeypatch):
        monkeypatch.setattr(memory_budget, "available_memory", lambda: 180_000_000)
        with pytest.raises(UserError) as caught:
            Engine(Checkpoint(folders / "bfloat16", dtype=torch.float32), max_num_seqs=1)
        message = str(caught.value)
        assert message.startswith("The model needs about 0.2 GB of memory, and 0.2 GB are available.")
        assert "--quantize int8 (about 0.2 GB) or --quantize int4" in message

    def test_is_rejected_without_options_if_none_fits(self, folders, monkeypatch):
        monkeypatch.setattr(memory_budget, "available_memory", lambda: 1_000_000)
        with pytest.raises(UserError, match="Close other programs or choose a smaller model"):
            Engine(Checkpoint(folders / "bfloat16", dtype=torch.float32), max_num_seqs=1)

    @pytest.mark.costly
    @pytest.mark.parametrize("quantize", [None, "int8", "int4"])
    @pytest.mark.parametrize("folder", ["float32", "bfloat16"])
    def test_the_estimate_matches_the_packed_weights(self, folders, folder, quantize):
        weights = Checkpoint(folders / folder, dtype=torch.float32)
        engine = Engine(weights, max_num_seqs=1, quantize=quantize)
        packed_bytes = engine._runner.packed.nbytes
        engine.close()
        assert memory_budget.estimate_weight_bytes(weights, quantize) == pytest.approx(packed_bytes, rel=0.1)


class TestEveryWayToLoad:
    """Every loader rejects a model that does not fit before it reads any weights."""

    @pytest.fixture(autouse=True)
    def little_memory(self, monkeypatch):
        monkeypatch.setattr(memory, "available_memory", lambda: 50_000)

    def test_a_decoder_for_training_is_rejected(self, folders):
        with pytest.raises(UserError, match=r"The model in .*float32 needs about 0.2 GB of memory, and 0.0 GB are"):
            load(folders / "float32", dtype=torch.float32)

    def test_a_transformers_model_is_rejected(self, folders):
        pytest.importorskip("transformers")
        with pytest.raises(UserError, match=r"The model in .*bfloat16 needs about 0.2 GB of memory"):
            transformers_checkpoint.load(folders / "bfloat16")

    def test_an_adapter_is_rejected(self, folders):
        with pytest.raises(UserError, match=r"The adapter in .*adapter needs about 0.0 GB of memory"):
            load_adapter(folders / "adapter")


def write_limits(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


class TestContainerLimits:
    def test_a_cgroup_limit_and_its_usage_are_respected(self, tmp_path, monkeypatch):
        write_limits(tmp_path / "group", memory__max="500000000\n", memory__current="300000000\n",
               memory__stat="anon 1\ninactive_file 100000000\n")  # fmt: skip
        monkeypatch.setattr(memory, "CGROUP", tmp_path / "group")
        assert memory.total_memory() == 500_000_000
        assert memory.available_memory() == 300_000_000

    def test_a_limit_of_cgroup_v1_is_respected(self, tmp_path, monkeypatch):
        write_limits(tmp_path / "memory", memory__limit_in_bytes="400000000\n", memory__usage_in_bytes="100000000\n",
               memory__stat="total_inactive_file 0\n")  # fmt: skip
        monkeypatch.setattr(memory, "CGROUP", tmp_path / "nowhere")
        monkeypatch.setattr(memory, "CGROUP_V1", tmp_path / "memory")
        assert memory.total_memory() == 400_000_000
        assert memory.available_memory() == 300_000_000

    def test_without_a_limit_the_memory_of_the_machine_counts(self, tmp_path, monkeypatch):
        write_limits(tmp_path / "group", memory__max="max\n")
        monkeypatch.setattr(memory, "CGROUP", tmp_path / "group")
        monkeypatch.setattr(memory, "CGROUP_V1", tmp_path / "nowhere")
        assert 10**8 < memory.available_memory() <= memory.total_memory()
