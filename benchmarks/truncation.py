"""What training makes of dialogues that are longer than a row: how much is learned without its context.

    python benchmarks/truncation.py DATA... [--model box] [--max-seq-len 512]

For every file or folder: the row length that training chooses, the share of dialogues that are shortened, and the share
of learned tokens whose piece does not begin as a dialogue that could be served (system messages, then a user turn) or
whose question is missing. The last figure should be 0.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.errors import UserError
from turnwise.core.messages import Conversation, Message
from turnwise.data.sources import DataSource
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.launch.auto_seq_len import with_max_seq_len
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import parse_recipe


def exchanges(messages: tuple[Message, ...]) -> list[list[Message]]:
    """The dialogue's exchanges, each from one user's turn to the next; system messages belong to none."""
    found: list[list[Message]] = []
    for message in messages:
        if message.role in ("system", "developer"):
            continue
        if message.role == "user" or not found:
            found.append([])
        found[-1].append(message)
    return found


def openings(messages: tuple[Message, ...], renderer: Renderer) -> list[list[int]]:
    """The ids that a piece may begin with: the system messages and one exchange up to its first reply."""
    head = [message for message in messages if message.role in ("system", "developer")]
    found = []
    for exchange in exchanges(messages):
        asked = exchange[: next((i for i, m in enumerate(exchange) if m.role == "assistant"), len(exchange))]
        found.append(renderer.render([*head, *asked]).ids)
    return found


def measure(path: Path, model: str, max_seq_len: int | None) -> str:
    """A line about one data set."""
    values = {"model": {"from": model}, "data": {"train": str(path)}, "out": "none"}
    recipe = parse_recipe(
        {**values, "training": {"max_seq_len": max_seq_len} if max_seq_len else {}}, origin="benchmark"
    )
    base = load_base_model(recipe)
    length = with_max_seq_len(recipe, base.renderer, base.model).training.resolved_max_seq_len
    frame, objective = (
        ExampleContext(base.renderer, length, base.model.decoder_start_ids),
        OBJECTIVES.parse_plugin("sft"),
    )
    dialogues = learned = later = wrong = 0
    for item in DataSource(path, skip_bad_rows=True):
        if not isinstance(item, Conversation):
            continue
        item = replace(item, rejected=())
        try:
            pieces = list(objective.examples(item, frame))
        except UserError:
            continue
        dialogues += 1
        known = openings(item.messages, base.renderer) if len(pieces) > 1 or frame.truncation.dialogues else []
        for piece in pieces:
            count = int(piece.target_mask.sum())
            learned += count
            if not known:
                continue
            first = int(np.argmax(piece.target_mask)) + 1
            begins = [ids for ids in known if piece.ids[: len(ids)].tolist() == ids and len(ids) <= first]
            later += count if begins and begins[0] != known[0] else 0
            wrong += 0 if begins else count
    lost = frame.truncation
    return "  ".join(
        (
            f"{path.parent.name:16} rows of {length:5,}",
            f"{dialogues:6,} dialogues, {lost.dialogues / max(1, dialogues):5.1%} shortened",
            f"learned in later pieces {later / max(1, learned):5.1%}",
            f"without valid context {wrong / max(1, learned):.2%}",
            f"not learned {lost.tokens / max(1, learned + lost.tokens):.2%}",
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--model", default="box")
    parser.add_argument("--max-seq-len", type=int)
    given = parser.parse_args()
    folder = str(resolve_model_folder(None if given.model == "box" else given.model))
    for path in given.data:
        print(measure(path, folder, given.max_seq_len), flush=True)
