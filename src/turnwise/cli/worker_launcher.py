"""Starts the current command in several training processes, as torchrun does."""

import subprocess
import sys

# torchrun, but a signal ends it with an exit code instead of a traceback.
LAUNCHER = """
import sys
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.run import main
try:
    main(sys.argv[1:])
except SignalException as error:
    sys.exit(128 + error.sigval)
"""
POLL_SECONDS = 0.2  # between two checks for a signal


def launch_workers(num_workers: int) -> int:
    """Run this command again in `num_workers` processes and return its exit code. Stop signals are passed on."""
    from turnwise.training.stop_signals import capture_stop_signals

    launcher = ["-c", LAUNCHER, "--standalone", f"--nproc-per-node={num_workers}", "--module", "turnwise"]
    with capture_stop_signals() as signum:
        process = subprocess.Popen([sys.executable, *launcher, *_worker_arguments()], start_new_session=True)  # noqa: S603, this program
        sent = 0
        while True:
            if signum() and not sent:
                sent = signum()
                process.send_signal(sent)
            try:
                code = process.wait(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return 128 + sent if sent and code else code


def _worker_arguments() -> list[str]:
    """The arguments of this command without `--num-workers`."""
    arguments, remaining = [], iter(sys.argv[1:])
    for argument in remaining:
        if argument == "--num-workers":
            next(remaining, None)
        elif not argument.startswith("--num-workers="):
            arguments.append(argument)
    return arguments
