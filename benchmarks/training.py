"""Training compared with transformers.Trainer and TRL's SFTTrainer: tokens per second without padding, and memory.

    python benchmarks/training.py FOLDER DIALOGUES.jsonl --peers-python VENV/bin/python
    python benchmarks/training.py FOLDER DIALOGUES.jsonl --peers-python VENV/bin/python --lora-rank 16

All sides use the same model, the same dialogues, float32, AdamW and the loss of every token. "trainer" and "trl" train
on `--dialogues` dialogues per step, padded to the longest one. Turnwise and "trl-packed" train on `--rows` packed rows
of 512 tokens per step. With `--lora-rank`, all linear layers of the blocks get LoRA adapters (TRL: by peft), and only
the assistant's replies have a loss. Every side runs in its own process and waits while another one is measured. The
sides are measured in rotation; ratios are medians over rounds. VENV needs trl, and peft for LoRA.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SIDES = Path(__file__).parent / "sides"
MAX_SEQ_LEN = 512
PEERS = ("trainer", "trl", "trl-packed")


class Side:
    """A process that trains when it reads its arguments and prints the measurements as JSON.

    Attributes:
        args: line to send, `STEPS BATCH_SIZE MAX_SEQ_LEN`.
        results: measurements of all rounds that count: `tokens` per second, `memory` in MB.
    """

    def __init__(self, name: str, command: list[str], args: str) -> None:
        self.name, self.args = name, args
        self.results: list[dict[str, float]] = []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, *, is_warmup: bool) -> None:
        """Train once; a warm-up does not count."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(self.args + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith('{"tokens"'):
                if not is_warmup:
                    self.results.append(json.loads(line))
                return
        raise RuntimeError(f"{self.name} ended with {self._process.wait()}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder")
    parser.add_argument("data", help="a JSONL file of dialogues as OpenAI messages")
    parser.add_argument("--peers-python", required=True, help="a Python with trl")
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="default: all; with LoRA only those of TRL")
    parser.add_argument(
        "--lora-rank", type=int, default=0, help="train LoRA adapters of this rank; 0 trains all weights (default)"
    )
    parser.add_argument("--steps", type=int, default=12, help="measured steps per round (default: 12)")
    parser.add_argument("--dialogues", type=int, default=16, help="per step of trainer and trl (default: 16)")
    parser.add_argument("--rows", type=int, default=4, help="per step of Turnwise and trl-packed (default: 4)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    threads, rank = str(args.threads), str(args.lora_rank)
    turnwise = [sys.executable, str(SIDES / "turnwise_training_side.py"), args.model, args.data, threads, rank]
    sides = [Side("turnwise", turnwise, f"{args.steps} {args.rows} {MAX_SEQ_LEN}")]
    for kind in args.peers or (PEERS[1:] if args.lora_rank else PEERS):
        batch_size = args.rows if kind == "trl-packed" else args.dialogues
        command = [args.peers_python, str(SIDES / "trainer_side.py"), args.model, args.data, kind, threads, rank]
        sides.append(Side(kind, command, f"{args.steps} {batch_size} {MAX_SEQ_LEN}"))
    for number in range(args.rounds + 1):
        for side in sides:
            side.measure(is_warmup=number == 0)
    print("| side | tokens/s | turnwise / side | memory, MB | turnwise / side |")
    print("| --- | --- | --- | --- | --- |")
    for side in sides:
        pairs = zip(sides[0].results, side.results, strict=True)
        speed_ratio = statistics.median(ours["tokens"] / theirs["tokens"] for ours, theirs in pairs)
        speed = statistics.median(result["tokens"] for result in side.results)
        memory = side.results[0]["memory"]
        memory_ratio = sides[0].results[0]["memory"] / memory
        print(f"| {side.name} | {speed:,.0f} | {speed_ratio:.2f}× | {memory:,.0f} | {memory_ratio:.0%} |")
        side.close()


if __name__ == "__main__":
    main()
