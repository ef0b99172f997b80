"""Training in separate processes, which tests kill. Each process imports this file, so it imports little."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

# The fork server imports these once, so that processes start quickly.
_PRELOAD = [
    "turnwise.cli.train",
    "turnwise.training.launch.run_recipe",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "matplotlib.figure",
]
LONGEST = 120  # seconds


def start(target, *arguments):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def ended(process):
    """Wait for the end; return the exit code, negative for a signal."""
    process.join(LONGEST)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError("the process did not end")
    return process.exitcode


def when_steps(process, work, count, sent):
    """Send a signal when the metrics file has `count` steps; return whether the process was still running."""
    deadline = time.monotonic() + LONGEST
    while process.is_alive() and time.monotonic() < deadline:
        if len(steps(work / "metrics.jsonl")) >= count:
            os.kill(process.pid, sent)
            return True
        time.sleep(0.001)
    return False


def steps(metrics):
    """Step and loss of every training step in a metrics file."""
    if not metrics.is_file():
        return []
    lines = [json.loads(line) for line in metrics.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def gradients(metrics):
    """Step and norm of the gradient of every training step in a metrics file."""
    lines = map(json.loads, metrics.read_text().splitlines())
    return [(line["step"], line["grad_norm"]) for line in lines if "loss" in line]


def validations(metrics):
    """Step and loss of every validation in a metrics file."""
    lines = map(json.loads, metrics.read_text().splitlines())
    return [(line["step"], line["valid_loss"], line["best"]) for line in lines if "valid_loss" in line]


def _alone():
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)


def free_port():
    """A free TCP port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_together(target, count, *arguments):
    """Start `target(*arguments)` in `count` processes with the environment of torchrun."""
    port = free_port()
    return [start(_as_worker, rank, count, port, target, arguments) for rank in range(count)]


def _as_worker(rank, count, port, target, arguments):
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    target(*arguments)


def train(values):
    """Run a recipe."""
    _alone()
    from turnwise.training.launch.run_recipe import run_recipe
    from turnwise.training.recipe import parse_recipe

    run_recipe(parse_recipe(values, origin="test"))


def train_command(arguments, stderr_file):
    """Run `turnwise train` with these arguments; stderr goes to a file."""
    _alone()
    import typer

    from turnwise.cli.train import train

    app = typer.Typer()
    app.command()(train)
    with Path(stderr_file).open("w") as sys.stderr:
        app(arguments)


def weigh_parts(base_folder, counts_file):
    """Write how many weights, gradients and optimizer values this worker has; check the gathered weights."""
    _alone()
    import torch

    from turnwise.models.checkpoint import load
    from turnwise.training.distributed.sharding import full_tensor, local_shard, reshard, shard_model
    from turnwise.training.distributed.worker_group import WorkerGroup
    from turnwise.training.optim.optimizers import build_optimizers

    workers = WorkerGroup.from_environment()
    decoder = load(base_folder, dtype=torch.float32).decoder
    before = {name: parameter.detach().clone() for name, parameter in decoder.named_parameters()}
    shard_model(decoder, workers, torch.device("cpu"))
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        decoder.logits(decoder(ids))
    reshard(decoder)
    assert all(torch.equal(full_tensor(parameter), before[name]) for name, parameter in decoder.named_parameters())
    decoder.logits(decoder(ids)).sum().backward()
    parameters = list(decoder.parameters())
    (adamw,) = build_optimizers(decoder, name="adamw", learning_rate=0.01, weight_decay=0.1)
    adamw.step()
    moments = [adamw.state[parameter]["exp_avg_sq"] for parameter in parameters]
    gradients = [parameter.grad for parameter in parameters]
    counts = [sum(local_shard(tensor).numel() for tensor in kind) for kind in (parameters, gradients, moments)]
    Path(f"{counts_file}.{workers.rank}").write_text(
        json.dumps([*counts, sum(tensor.numel() for tensor in before.values())])
    )
