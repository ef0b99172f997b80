"""Builds the datasets of a recipe: reads the sources, renders and tokenizes them, and caches the examples on disk."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from turnwise import __version__
from turnwise.core.errors import InvalidData, UserError
from turnwise.core.exchanges import last_reply
from turnwise.core.files import atomic_write
from turnwise.core.messages import Conversation
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import read_source
from turnwise.models.language_model import LanguageModel
from turnwise.models.model_folders import find_model_folder, weights_digest
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.dataset import Dataset, DatasetSplits
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.examples.example import Example
from turnwise.training.examples.example_reader import ExampleReader, misspell_user_turns
from turnwise.training.examples.holdout import Holdout
from turnwise.training.examples.recipe_sources import open_items, open_source
from turnwise.training.examples.shards import FORMAT, ExampleShard, in_memory_shard, open_shard, write_shard
from turnwise.training.examples.source_mixture import epoch_repeats, replay_tokens_per_epoch, total_replay_tokens
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.reply_samples import NUM_SAMPLES
from turnwise.training.objective import ExampleContext, Item, Objective
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe
from turnwise.training.recipe_sections import SourceConfig

VALID, TEST, RETENTION, REPLAY = "valid", "test", "retention", "replay"  # folder names of shards
SAMPLES_FILE, INFO = "samples.jsonl", "info.json"


class Teacher(Protocol):
    """The model before training, for replay."""

    def dialogues(self, tokens: float) -> Iterable[Conversation]:
        """Dialogues that end with its replies, of about so many tokens."""

    def label(self, examples: Iterable[Example]) -> Iterable[Example]:
        """The examples as they are trained on."""


def load_datasets(
    recipe: Recipe,
    renderer: Renderer,
    model: LanguageModel,
    *,
    folder: Path | None = None,
    hooks: Sequence[TrainerHook] = (),
    teacher: Teacher | None = None,
    reuse_cache: bool = False,
) -> DatasetSplits:
    """Build all splits of a recipe.

    Args:
        recipe: names the data; its sequence length is set.
        renderer: renderer of the model to train.
        model: the model to train; decides about packing and decoder start tokens.
        folder: where to store examples; None keeps them in memory.
        hooks: receive every row.
        teacher: generates and labels replay dialogues; needed if the recipe uses replay.
        reuse_cache: reuse the examples in `folder` if neither the files nor the recipe have changed.

    Raises:
        InvalidData: a bad row (unless the recipe skips bad rows), or no training example.
    """
    context = ExampleContext(renderer, recipe.training.resolved_max_seq_len, model.decoder_start_ids)
    recipe.objective.check(renderer.tokenizer)
    if folder is not None and reuse_cache and (cached := _read_cached(folder, recipe, context)):
        shards, samples, num_bad_rows, truncation = cached
    else:
        shards, samples, num_bad_rows = _read(recipe, context, folder, hooks, teacher)
        truncation = context.truncation
    train = [shards[_train_name(number)] for number in range(len(recipe.data.train))]
    repeats = epoch_repeats(recipe.data.train, train)
    if len(shards[REPLAY]):
        repeats.append(replay_tokens_per_epoch(recipe, train, repeats) / shards[REPLAY].tokens)
        train.append(shards[REPLAY])
    for split in (train, [shards[VALID]], [shards[TEST]]):
        _balance_labels(recipe.objective, split)

    def dataset(shards: Sequence[ExampleShard], repeats: Sequence[float] = ()) -> Dataset:
        return Dataset(
            shards,
            recipe.objective,
            context,
            model.supports_packing and recipe.objective.PACKS_EXAMPLES,
            recipe.training.micro_batch_size,
            recipe.training.seed,
            repeats,
        )

    return DatasetSplits(
        dataset(train, repeats),
        dataset([shards[VALID]]),
        dataset([shards[TEST]]),
        replace(dataset([shards[RETENTION]]), objective=_retention_objective(recipe)),
        sample_dialogues=samples,
        num_bad_rows=num_bad_rows,
        num_replayed=len(shards[REPLAY]),
        truncation=truncation,
    )


def _read(
    recipe: Recipe,
    context: ExampleContext,
    folder: Path | None,
    hooks: Sequence[TrainerHook],
    teacher: Teacher | None,
) -> tuple[dict[str, ExampleShard], tuple[Conversation, ...], int]:
    """Read all sources; return the shards by name, the dialogues for reply samples and the number of bad rows."""
    reader = ExampleReader(recipe.objective, context, recipe.data.skip_bad_rows, hooks)
    held_out: list[tuple[Item, list[Example]]] = []

    def train_examples(source: SourceConfig) -> Iterator[Example]:
        holdout = Holdout(recipe, source)

        def add_typos(item: Item) -> Item:
            if holdout.is_held_out(item):
                return item
            return misspell_user_turns(item, recipe.data.typo_ratio, recipe.training.seed)

        for item, examples in reader.read([source], transform=add_typos):
            if holdout.is_held_out(item):
                held_out.append((item, examples))
            else:
                yield from examples

    def shard(name: str, examples: Iterable[Example]) -> ExampleShard:
        return in_memory_shard(examples) if folder is None else write_shard(folder / name, examples)

    shards = {
        _train_name(number): shard(_train_name(number), train_examples(source))
        for number, source in enumerate(recipe.data.train)
    }
    if not any(map(len, shards.values())):
        raise InvalidData(_no_examples_message(recipe, has_held_out=bool(held_out)))
    shards[REPLAY] = shard(REPLAY, _replay_examples(recipe, context, list(shards.values()), teacher))
    held_out.extend(reader.read(recipe.data.valid))
    test = list(reader.read(recipe.data.test))
    shards[VALID] = shard(VALID, (example for _, examples in held_out for example in examples))
    shards[TEST] = shard(TEST, (example for _, examples in test for example in examples))
    retention = ExampleReader(_retention_objective(recipe), context, recipe.data.skip_bad_rows, hooks)
    retention_items = retention.read(recipe.data.retention)
    shards[RETENTION] = shard(RETENTION, (example for _, examples in retention_items for example in examples))
    with_reply = (item for item, _ in [*held_out, *test] if isinstance(item, Conversation) and last_reply(item))
    samples = tuple(islice(with_reply, NUM_SAMPLES))
    if folder is not None:
        write_jsonl(folder / SAMPLES_FILE, samples)
        info = {"key": _key(recipe, context), "bad_rows": reader.num_bad_rows, "truncation": asdict(context.truncation)}
        atomic_write(folder / INFO, json.dumps(info))
    return shards, samples, reader.num_bad_rows


def _replay_examples(
    recipe: Recipe, context: ExampleContext, train: Sequence[ExampleShard], teacher: Teacher | None
) -> Iterable[Example]:
    """Replay examples: enough for the whole run if there are enough prompts, so that none repeats."""
    if not recipe.data.replay_ratio:
        return ()
    assert teacher is not None, "replay needs the model before training"
    dialogues = _stored_replies(recipe) or teacher.dialogues(total_replay_tokens(recipe, train))
    return teacher.label(_examples_of_replies(recipe, context, dialogues))


def _stored_replies(recipe: Recipe) -> list[Conversation]:
    """The dialogues of `replay_replies`, if the recipe has any. Raises `InvalidData` if the files hold none."""
    sources, skip = recipe.data.replay_replies, recipe.data.skip_bad_rows
    items = (item for source in sources for item in islice(open_source(source, skip_bad_rows=skip), source.max_items))
    dialogues = [item for item in items if isinstance(item, Conversation)]
    if sources and not dialogues:
        raise InvalidData("'data.replay_replies' holds no dialogue: leave it out, and the run generates the replies.")
    return dialogues


def _examples_of_replies(
    recipe: Recipe, context: ExampleContext, dialogues: Iterable[Conversation]
) -> Iterator[Example]:
    for dialogue in dialogues:
        with suppress(UserError):  # a generated reply may contain what the template rejects
            yield from list(recipe.objective.examples(dialogue, context))


def _read_cached(
    folder: Path, recipe: Recipe, context: ExampleContext
) -> tuple[dict[str, ExampleShard], tuple[Conversation, ...], int, TruncationReport] | None:
    """Return what an earlier call of `_read` stored, if it would store the same again."""
    try:
        info = json.loads((folder / INFO).read_text())
    except (OSError, ValueError):
        return None
    if info.get("key") != _key(recipe, context):
        return None
    names = [*(_train_name(number) for number in range(len(recipe.data.train))), VALID, TEST, RETENTION, REPLAY]
    path = folder / SAMPLES_FILE
    samples = [item for item in read_source(path) if isinstance(item, Conversation)] if path.stat().st_size else []
    shards = {name: open_shard(folder / name) for name in names}
    return shards, tuple(samples), info["bad_rows"], TruncationReport(**info["truncation"])


def _train_name(number: int) -> str:
    return f"train-{number}"


def _key(recipe: Recipe, context: ExampleContext) -> str:
    """Hash everything that decides about the examples: file sizes and times, recipe, version, template, tokenizer."""
    data = recipe.data
    files = [
        (str(file), file.stat().st_size, file.stat().st_mtime_ns)
        for sources in (data.train, data.valid, data.test, data.retention, data.replay_prompts, data.replay_replies)
        for source in sources
        for file in open_items(source, recipe.objective).files
    ]
    digest = hashlib.sha256(json.dumps(files).encode())
    digest.update(recipe.dump().encode())
    if data.replay_ratio and recipe.model.source is not None:  # replay examples depend on the base model's weights
        digest.update(weights_digest(find_model_folder(recipe.model.source)).encode())
    digest.update(
        f"{__version__}\0{FORMAT}\0{context.renderer.chat_template}\0{context.tokenizer.backend.to_str()}".encode()
    )
    return digest.hexdigest()


def _balance_labels(objective: Objective, split: Sequence[ExampleShard]) -> None:
    """Rescale the segment labels of a split by class weights, over all its shards."""
    for name in sorted({name for shard in split for name in shard.segment_labels}):
        shards = [shard for shard in split if name in shard.segment_labels]
        sizes = [len(shard.segment_labels[name]) for shard in shards]
        labels = objective.balance_labels(name, np.concatenate([shard.segment_labels[name] for shard in shards]))
        for shard, values in zip(shards, np.split(labels, np.cumsum(sizes)[:-1]), strict=True):
            shard.segment_labels[name] = values


def _retention_objective(recipe: Recipe) -> Objective:
    """The objective for retention data: the recipe's; SFT if that needs preferences or ratings, or adds a penalty."""
    objective = recipe.objective
    return OBJECTIVES.parse_plugin("sft") if objective.NEEDS_REFERENCE or objective.ADDS_PENALTY else objective


def _no_examples_message(recipe: Recipe, *, has_held_out: bool) -> str:
    paths = ", ".join(source.path for source in recipe.data.train)
    if has_held_out:
        return (
            f"All of {paths} was held out for validation, so nothing is left to train on. Add dialogues, set "
            "'data.valid' to validation data, or set 'data.valid_fraction' to 0."
        )
    return f"{paths} has no training example: {recipe.objective.EMPTY_MESSAGE}."
