"""Training in processes of its own, to be killed. Kept light: every such process imports this file."""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

# The server that processes are forked from imports these once, so that each of them starts at once.
_PRELOAD = [
    "turnwise.cli.train",
    "turnwise.training.run",
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
    """The exit code; a signal's number below zero."""
    process.join(LONGEST)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError("the process did not end")
    return process.exitcode


def when_steps(process, work, count, sent):
    """Send a signal as soon as `count` training steps stand in the metrics file; whether it was still running."""
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


def validations(metrics):
    """Step and loss of every validation in a metrics file."""
    lines = map(json.loads, metrics.read_text().splitlines())
    return [(line["step"], line["valid_loss"], line["best"]) for line in lines if "valid_loss" in line]


def _alone():
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)


def train(values):
    """Run a recipe."""
    _alone()
    from turnwise.training.recipe import parse_recipe
    from turnwise.training.run import run_recipe

    run_recipe(parse_recipe(values, origin="test"))


def train_command(words, said):
    """`turnwise train` with these words; what it writes to stderr goes to a file."""
    _alone()
    import typer

    from turnwise.cli.train import train

    app = typer.Typer()
    app.command()(train)
    with Path(said).open("w") as sys.stderr:
        app(words)
