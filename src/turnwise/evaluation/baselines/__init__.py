"""Baselines: simple systems, built from training dialogues within seconds, that a model should beat."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from turnwise.core.messages import Conversation
from turnwise.data.data_files import find_split_files
from turnwise.data.read_options import ReadOptions
from turnwise.data.sources import DataSource
from turnwise.data.split_folders import SplitName
from turnwise.evaluation.system_under_test import SystemUnderTest

BaselineName = Literal["retrieval", "ngram"]
DEFAULT_CONTEXT_LENGTH = 1024  # tokens, if the model's configuration has none


@contextmanager
def open_baseline(
    kind: BaselineName, file: Path, model: Path, max_tokens: int | None = None, options: ReadOptions | None = None
) -> Iterator[SystemUnderTest]:
    """Build a baseline from a file of dialogues.

    Args:
        kind: the baseline's name.
        file: training dialogues, or a folder whose training split is used.
        model: folder of the model it is compared with. The n-gram baseline uses its tokenizer and context length.
        max_tokens: maximum tokens of an answer. Retrieved answers are never cut.
        options: options for reading the file.

    Raises:
        UserError: a file cannot be read, or has nothing to learn from.
    """
    side: SplitName | None = "train" if "train" in find_split_files(file) else None
    dialogues = [item for item in DataSource(file, split=side, options=options) if isinstance(item, Conversation)]
    if kind == "retrieval":
        from turnwise.evaluation.baselines.retrieval import RetrievalBaseline

        yield RetrievalBaseline(dialogues)
    else:
        from turnwise.evaluation.baselines.ngram import DEFAULT_MAX_TOKENS, NgramBaseline
        from turnwise.models.adapter_config import adapter_base_folder, is_adapter
        from turnwise.models.model_folders import read_hf_config
        from turnwise.text.rendering.renderer import Renderer
        from turnwise.text.tokenization.tokenizer import Tokenizer

        base_folder = adapter_base_folder(model) if is_adapter(model) else model
        context = int(read_hf_config(base_folder).get("max_position_embeddings") or DEFAULT_CONTEXT_LENGTH)
        # Adapters usually contain the tokenizer that they are served with.
        renderer = Renderer.from_tokenizer(
            Tokenizer.load(model if (model / "tokenizer.json").is_file() else base_folder)
        )
        yield NgramBaseline(dialogues, renderer, context_length=context, max_tokens=max_tokens or DEFAULT_MAX_TOKENS)
