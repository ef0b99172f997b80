"""Truncation of dialogues that are longer than the sequence length of training.

    python benchmarks/truncation.py DATA... [--model box] [--max-seq-len 512]

For every file or folder it prints the sequence length that training chooses, the share of dialogues that are truncated,
and shares of the reply tokens: those trained on in later windows of a dialogue, those without a valid context, and
those not trained on. A context is valid if the window starts like a dialogue that could be served (system messages,
then a user turn) and contains the question. The share without a valid context should be 0.
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

SYSTEM_ROLES = ("system", "developer")


def split_exchanges(messages: tuple[Message, ...]) -> list[list[Message]]:
    """The exchanges of a dialogue, each from one user message to the next, without system messages."""
    exchanges: list[list[Message]] = []
    for message in messages:
        if message.role in SYSTEM_ROLES:
            continue
        if message.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(message)
    return exchanges


def valid_prefixes(messages: tuple[Message, ...], renderer: Renderer) -> list[list[int]]:
    """Token ids that a window may start with: system messages, then the messages of one exchange before its reply."""
    system = [message for message in messages if message.role in SYSTEM_ROLES]
    prefixes = []
    for exchange in split_exchanges(messages):
        end = next((i for i, message in enumerate(exchange) if message.role == "assistant"), len(exchange))
        prefixes.append(renderer.render([*system, *exchange[:end]]).ids)
    return prefixes


def measure(path: Path, model: str, max_seq_len: int | None) -> str:
    """Truncate all dialogues of a data set as `sft` does; return a line with the measurements."""
    values = {"model": {"from": model}, "data": {"train": str(path)}, "out": "none"}
    recipe = parse_recipe(
        {**values, "training": {"max_seq_len": max_seq_len} if max_seq_len else {}}, origin="benchmark"
    )
    base = load_base_model(recipe)
    length = with_max_seq_len(recipe, base.renderer, base.model).training.resolved_max_seq_len
    context = ExampleContext(base.renderer, length, base.model.decoder_start_ids)
    objective = OBJECTIVES.parse_plugin("sft")
    num_dialogues = num_trained = num_in_later_windows = num_without_context = 0
    for item in DataSource(path, skip_bad_rows=True):
        if not isinstance(item, Conversation):
            continue
        item = replace(item, rejected=())
        try:
            windows = list(objective.examples(item, context))
        except UserError:
            continue
        num_dialogues += 1
        may_be_truncated = len(windows) > 1 or context.truncation.dialogues
        prefixes = valid_prefixes(item.messages, base.renderer) if may_be_truncated else []
        for window in windows:
            num_targets = int(window.target_mask.sum())
            num_trained += num_targets
            if not prefixes:
                continue
            reply_start = int(np.argmax(window.target_mask)) + 1
            matches = [ids for ids in prefixes if window.ids[: len(ids)].tolist() == ids and len(ids) <= reply_start]
            if not matches:
                num_without_context += num_targets
            elif matches[0] != prefixes[0]:
                num_in_later_windows += num_targets
    truncation = context.truncation
    return "  ".join(
        (
            f"{path.parent.name:16} sequence length {length:5,}",
            f"{num_dialogues:6,} dialogues, {truncation.dialogues / max(1, num_dialogues):5.1%} truncated",
            f"trained on in later windows {num_in_later_windows / max(1, num_trained):5.1%}",
            f"without valid context {num_without_context / max(1, num_trained):.2%}",
            f"not trained on {truncation.tokens / max(1, num_trained + truncation.tokens):.2%}",
        )
    )


def main() -> None:
    """Print one line per data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="files or folders of dialogues")
    parser.add_argument("--model", default="tiny", help="a model name or folder; default: tiny")
    parser.add_argument("--max-seq-len", type=int, help="default: as training chooses")
    args = parser.parse_args()
    folder = str(resolve_model_folder(args.model))
    for path in args.data:
        print(measure(path, folder, args.max_seq_len), flush=True)


if __name__ == "__main__":
    main()
