"""The walk-through of docs/guide/improve.md with real commands and a clock: chat, correct, improve, roll back, erase.

    python benchmarks/first_improvement.py --out walk --models ~/.local/share/turnwise/models

A server with the default model answers ten questions to a bakery. A person corrects all ten over the API.
`turnwise improve --once` runs beside the server. Printed: minutes, outcome with its reason, answers to the corrected
questions, to others in other words, and to questions about something else, before and after, whether the roll-back
restores the answers, and the files that still hold a text of the person after `turnwise privacy erase`.
"""

import argparse
import json
import re
import time
from pathlib import Path

from improvement_parts.fresh_home import CORRECTIONS, USER, FreshHome

TESTS = (
    *(question for question, _ in CORRECTIONS),
    "What time do you open on Saturdays?", "What does a loaf of sourdough cost?", "Can you bring bread to my home?",
    "Where is your bakery?", "Are there vegan croissants?", "What is the capital of France?", "Who are you?",
)  # fmt: skip


SETTINGS = "public_texts: [Mill Lane 4, Mill Bridge]  # the address of the shop\n"


def main() -> None:
    """Walk through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder, TURNWISE_HOME of the walk")
    parser.add_argument("--models", type=Path, help="folder of pulled models to link; default: pull the base model")
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    start = time.monotonic()

    def step(text: str) -> None:
        print(f"[{(time.monotonic() - start) / 60:5.1f} min] {text}", flush=True)

    walk = FreshHome(options.out, options.port, options.models)
    (walk.home / "improve.yaml").write_text(SETTINGS)
    with walk.server():
        before = walk.answers(TESTS)
        step("the server answers")
        walk.correct_answers()
        step(f"{len(CORRECTIONS)} answers are corrected")
        print(walk.run("improve", "--once"))
        step("the cycle has ended")
        time.sleep(3)
        after = walk.answers(TESTS)
        for question, old, new in zip(TESTS, before, after, strict=True):
            print(f"  {question}\n    before: {old}\n    after:  {new}")
        if before != after:
            model = json.loads(walk.run("improve", "status", "--json"))[-1]["model"]
            walk.run("models", "rollback", model)
            time.sleep(3)
            step(f"rolled back: the answers are {'the' if walk.answers(TESTS) == before else 'NOT the'} old ones")
    walk.run("privacy", "erase", "--user", USER, "--yes")
    step(f"erased; files that hold a text of the person: {files_with_texts(walk.home)}")


def files_with_texts(home: Path) -> list[str]:
    """Files below a folder that hold a correction, a question of the person, or their name."""
    texts = [re.sub(r"\W+$", "", text).encode() for pair in CORRECTIONS for text in pair if len(text) > 20]
    texts.append(USER.encode())
    files = [path for path in home.rglob("*") if path.is_file() and "models" not in path.relative_to(home).parts[:1]]
    return [str(path.relative_to(home)) for path in files if any(text in path.read_bytes() for text in texts)]


if __name__ == "__main__":
    main()
