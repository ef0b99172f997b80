"""Training beside transformers.Trainer and TRL's SFTTrainer: tokens a second that are no padding, and memory.

    python benchmarks/training.py FOLDER DIALOGUES.jsonl --peers-python VENV/bin/python
    python benchmarks/training.py FOLDER DIALOGUES.jsonl --peers-python VENV/bin/python --lora-rank 16

The same model, dialogues and arithmetic (float32), loss on every token, AdamW. The others take so many dialogues in a
step, padded to the longest, or, as "trl-packed", rows of the same length as ours; we take packed rows of about as many
tokens. With `--lora-rank`, all linear layers of the blocks get LoRA adapters (TRL: of peft), and the loss is that of
the assistant's replies. Every side is a process that waits while another is measured; they take turns, and the ratios
are medians over rounds. VENV needs trl, and peft for LoRA.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SIDES = Path(__file__).parent / "sides"
LENGTH = 512
PEERS = ("trainer", "trl", "trl-packed")


class Side:
    """A process that answers with its figures whenever it is asked."""

    def __init__(self, name: str, command: list[str], asked: str) -> None:
        self.name, self.asked = name, asked
        self.found: list[dict[str, float]] = []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, *, count: bool) -> None:
        """Ask once."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(self.asked + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith('{"tokens"'):
                if count:
                    self.found.append(json.loads(line))
                return
        raise RuntimeError(f"{self.name} ended with {self._process.wait()}")

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", help="dialogues, as OpenAI messages, one to a line")
    parser.add_argument("--peers-python", required=True, help="a Python that has trl")
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="default: all; with LoRA those of TRL")
    parser.add_argument("--lora-rank", type=int, default=0, help="train adapters of this rank; 0: all weights")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--dialogues", type=int, default=16, help="in a step of the others")
    parser.add_argument("--rows", type=int, default=4, help="in a step of ours, and of trl-packed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    threads = str(given.threads)
    rank = str(given.lora_rank)
    ours = [sys.executable, str(SIDES / "turnwise_training_side.py"), given.model, given.data, threads, rank]
    sides = [Side("turnwise", ours, f"{given.steps} {given.rows} {LENGTH}")]
    for kind in given.peers or (PEERS[1:] if given.lora_rank else PEERS):
        size = given.rows if kind == "trl-packed" else given.dialogues
        command = [given.peers_python, str(SIDES / "trainer_side.py"), given.model, given.data, kind, threads, rank]
        sides.append(Side(kind, command, f"{given.steps} {size} {LENGTH}"))
    for number in range(given.rounds + 1):  # the first one warms up
        for side in sides:
            side.measure(count=number > 0)
    print("| side | useful tokens/s | turnwise by it | memory, MB | of its memory |")
    print("| --- | --- | --- | --- | --- |")
    for side in sides:
        ratio = statistics.median(
            mine["tokens"] / theirs["tokens"] for mine, theirs in zip(sides[0].found, side.found, strict=True)
        )
        speed = statistics.median(found["tokens"] for found in side.found)
        memory = side.found[0]["memory"]
        share = sides[0].found[0]["memory"] / memory
        print(f"| {side.name} | {speed:,.0f} | {ratio:.2f}× | {memory:,.0f} | {share:.0%} |")
        side.close()


if __name__ == "__main__":
    main()
