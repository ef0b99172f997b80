"""Cycles of `turnwise improve` that are killed with SIGKILL, or find a full disk, at random moments, and continue.

    python benchmarks/killed_cycles.py --kills 50 --full-disks 10

A cycle on the tiny model takes about ten seconds. Each process of it is killed after a random time, or before a random
write to the disk, and started again, until the cycle is complete; then the next cycle begins from the same feedback.
After each kill the registry, the store and the serving version are checked: it answers with its own greedy tokens, and
its weights have the digest of the record. At the end each cycle must have the result of one that was never disturbed.

For a full disk the folder is on a small tmpfs (Linux, as root or after `unshare --map-root-user --mount`), which is
filled while the cycle runs. The command must end with one sentence; with space again the cycle continues.
"""

import argparse
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from improvement_parts.disturbed_cycles import Figures, fill_disks, kill_cycles, prepare

DISK_BYTES = 64 * 2**20  # of the tmpfs; a cycle needs about a quarter of it


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a tmpfs at `folder`. Raises `PermissionError` if this is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise PermissionError("A tmpfs cannot be mounted: run as root, or after `unshare --map-root-user --mount`.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def show(counts: Counter[str]) -> str:
    """Counts by step in the order of a cycle."""
    ordered = [
        (step, counts[step]) for step in ("", "select", "replay", "train", "compare", "decide") if step in counts
    ]
    return ", ".join(f"{count} after {step or 'the start'}" for step, count in ordered)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit status 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--full-disks", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    with TemporaryDirectory(prefix="killed-cycles-") as name:
        folder = Path(name)
        template, reference = prepare(folder)
        print(f"A cycle takes {reference.seconds:.1f} s and ends with: {reference.last.outcome}.", flush=True)
        outcomes = []
        if options.kills:
            outcomes.append(killed := kill_cycles(template, folder, reference, options.kills, rng))
            report("kills", killed)
            print(f"At most {killed.max_remains} temporary files and folders after a kill.", flush=True)
        if options.full_disks:
            with small_disk(folder / "disk") as disk:
                outcomes.append(full := fill_disks(template, disk, reference, options.full_disks, rng))
            report("full disks", full)
    sys.exit(any(outcome.errors for outcome in outcomes))


def report(noun: str, figures: Figures) -> None:
    """Print what happened."""
    print(f"{figures.num_moments} {noun} in {figures.cycles} cycles: {show(figures.moments)}.")
    for sentence, count in figures.sentences.most_common():
        print(f"{count} times: {sentence}")
    for error, count in Counter(figures.errors).most_common():
        print(f"WRONG, {count} times: {error}")
    if not figures.errors:
        print("All cycles have the result of an undisturbed one.", flush=True)


if __name__ == "__main__":
    main()
