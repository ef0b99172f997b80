"""The file of a cycle's examples: read from the store once, so that an interrupted cycle sees the same ones."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from turnwise.core.messages import Conversation
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import DataSource
from turnwise.improve.training_examples import TrainingExample


def write_examples(path: Path, examples: Iterable[TrainingExample]) -> None:
    """Write the examples atomically."""
    write_jsonl(path, (replace(example.dialogue, meta=_meta(example)) for example in examples))


def read_examples(path: Path) -> list[TrainingExample]:
    """The examples of a file."""
    if not path.stat().st_size:
        return []
    dialogues = [item for item in DataSource(path) if isinstance(item, Conversation)]
    return [
        TrainingExample(
            dialogue.meta["id"], dialogue.meta["kind"], tuple(dialogue.meta["contributors"]),
            replace(dialogue, meta={}), dialogue.meta.get("conversation", ""), dialogue.meta.get("created", 0.0),
        )
        for dialogue in dialogues
    ]  # fmt: skip


def _meta(example: TrainingExample) -> dict[str, object]:
    return {
        "id": example.id, "kind": example.kind, "contributors": list(example.contributors),
        "conversation": example.conversation, "created": example.created,
    }  # fmt: skip
