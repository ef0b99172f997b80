"""From a recipe's data section to examples."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np

from turnwise import __version__
from turnwise.core.errors import InvalidData, UserError
from turnwise.core.files import atomic_write
from turnwise.core.messages import Conversation, Message
from turnwise.data.fingerprint import near_duplicate_key
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import Record, read_source
from turnwise.data.typing_noise import add_typos
from turnwise.models.language_model import LanguageModel
from turnwise.models.model_folders import find_model_folder, weights_digest
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.batches import Example
from turnwise.training.examples.dataset import Dataset, DatasetSplits
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.examples.holdout import split_position
from turnwise.training.examples.recipe_sources import open_source
from turnwise.training.examples.shards import ExampleShard, in_memory_shard, open_shard, write_shard
from turnwise.training.examples.source_mixture import epoch_repeats, replay_tokens_per_epoch, total_replay_tokens
from turnwise.training.launch.auto_seq_len import with_max_seq_len
from turnwise.training.launch.reply_samples import NUM_SAMPLES, last_reply
from turnwise.training.objective import ExampleContext, Objective
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe, SourceConfig

VALID, TEST, GENERAL, REHEARSAL = "valid", "test", "general", "rehearsal"
SAMPLES_FILE, INFO = "samples.jsonl", "info.json"
NOISY_WORDS = 0.1  # of a misspelt turn

ReplaySource = Callable[[float], Iterable[Conversation]]
"""Gives dialogues to rehearse, about so many tokens of them as a run is going to learn."""


def load_datasets(
    recipe: Recipe,
    renderer: Renderer,
    model: LanguageModel,
    *,
    folder: Path | None = None,
    on_item: Callable[[], None] = lambda: None,
    rehearses: ReplaySource = lambda _: (),
    again: bool = False,
) -> DatasetSplits:
    """Read, render and cut all data of a recipe.

    Args:
        recipe: names the data.
        renderer: of the model that is trained.
        model: which kind it is.
        folder: where examples are kept; None keeps them in memory.
        on_item: called for every conversation read.
        rehearses: gives what is rehearsed, if the recipe says so.
        again: what an earlier call left in `folder` may be used, if the files have not changed since.

    Raises:
        InvalidData: a row that cannot be used (unless the recipe skips them), or nothing left to learn from.
    """
    recipe = with_max_seq_len(recipe, renderer, model)
    context = ExampleContext(renderer, recipe.training.settled_row_length, model.decoder_start_ids)
    recipe.objective.check(renderer.tokenizer)
    if folder is not None and again and (kept := _read_cached(folder, recipe, context)):
        shards, samples, skipped, truncation = kept
    else:
        shards, samples, skipped = _read(recipe, context, folder, on_item, rehearses)
        truncation = context.truncation
    train = [shards[_train(number)] for number in range(len(recipe.data.train))]
    repeats = epoch_repeats(recipe.data.train, train)
    if len(shards[REHEARSAL]):
        repeats.append(replay_tokens_per_epoch(recipe, train, repeats) / shards[REHEARSAL].tokens)
        train.append(shards[REHEARSAL])
    for split in (train, [shards[VALID]], [shards[TEST]]):
        labels = recipe.objective.balance_labels(np.concatenate([shard.labels for shard in split]))
        for shard in split:
            shard.labels, labels = labels[: len(shard.labels)], labels[len(shard.labels) :]

    def dataset(found: Sequence[ExampleShard], repeats: Sequence[float] = ()) -> Dataset:
        return Dataset(
            found,
            recipe.objective,
            context,
            model.supports_packing,
            recipe.training.micro_rows,
            recipe.training.seed,
            repeats,
        )

    return DatasetSplits(
        dataset(train, repeats),
        dataset([shards[VALID]]),
        dataset([shards[TEST]]),
        replace(dataset([shards[GENERAL]]), objective=_general(recipe)),
        samples=samples,
        skipped=skipped,
        rehearsed=len(shards[REHEARSAL]),
        truncation=truncation,
    )


def _read(
    recipe: Recipe, context: ExampleContext, folder: Path | None, on_item: Callable[[], None], rehearses: ReplaySource
) -> tuple[dict[str, ExampleShard], tuple[Conversation, ...], int]:
    """All examples, the dialogues to answer, and how many bad rows were left out."""
    reader = _Reader(recipe, context, on_item, recipe.objective)
    held_out: list[tuple[Record, list[Example]]] = []
    fraction = 0.0 if recipe.data.valid else recipe.data.valid_fraction

    def kept_aside(item: Record) -> bool:
        return bool(fraction) and split_position(item, recipe.training.seed) < fraction

    def noisy(item: Record) -> Record:
        return item if kept_aside(item) else misspell_user_turns(item, recipe.data.noise, recipe.training.seed)

    def learned(source: SourceConfig) -> Iterator[Example]:
        for item, examples in reader.read([source], altered=noisy):
            if kept_aside(item):
                held_out.append((item, examples))
            else:
                yield from examples

    def shard(name: str, examples: Iterable[Example]) -> ExampleShard:
        return in_memory_shard(examples) if folder is None else write_shard(folder / name, examples)

    shards = {_train(n): shard(_train(n), learned(source)) for n, source in enumerate(recipe.data.train)}
    if not any(map(len, shards.values())):
        raise InvalidData(_nothing_left(recipe, held_out=bool(held_out)))
    shards[REHEARSAL] = shard(REHEARSAL, _answered(recipe, context, list(shards.values()), rehearses))
    held_out.extend(reader.read(recipe.data.valid))
    test = list(reader.read(recipe.data.test))
    shards[VALID] = shard(VALID, (example for _, examples in held_out for example in examples))
    shards[TEST] = shard(TEST, (example for _, examples in test for example in examples))
    general = (
        example
        for _, found in _Reader(recipe, context, on_item, _general(recipe)).read(recipe.data.general)
        for example in found
    )
    shards[GENERAL] = shard(GENERAL, general)
    answerable = (item for item, _ in [*held_out, *test] if isinstance(item, Conversation) and last_reply(item))
    samples = tuple(islice(answerable, NUM_SAMPLES))
    if folder is not None:
        write_jsonl(folder / SAMPLES_FILE, samples)
        info = {"key": _key(recipe, context), "skipped": reader.skipped, "truncation": asdict(context.truncation)}
        atomic_write(folder / INFO, json.dumps(info))
    return shards, samples, reader.skipped


def _answered(
    recipe: Recipe, context: ExampleContext, train: Sequence[ExampleShard], rehearses: ReplaySource
) -> Iterator[Example]:
    """What is rehearsed: as many tokens as the whole run shows, where they are to be had, so that none comes twice."""
    if not recipe.data.rehearse:
        return
    for dialogue in rehearses(total_replay_tokens(recipe, train)):
        with suppress(UserError):  # a model may say what its template refuses
            yield from list(recipe.objective.examples(dialogue, context))


def _read_cached(
    folder: Path, recipe: Recipe, context: ExampleContext
) -> tuple[dict[str, ExampleShard], tuple[Conversation, ...], int, TruncationReport] | None:
    """What an earlier call of `_read` wrote, if it would write the same again."""
    try:
        info = json.loads((folder / INFO).read_text())
    except (OSError, ValueError):
        return None
    if info.get("key") != _key(recipe, context):
        return None
    names = [*(_train(number) for number in range(len(recipe.data.train))), VALID, TEST, GENERAL, REHEARSAL]
    talks = (
        [item for item in read_source(folder / SAMPLES_FILE) if isinstance(item, Conversation)]
        if _filled(folder)
        else []
    )
    shards = {name: open_shard(folder / name) for name in names}
    return shards, tuple(talks), info["skipped"], TruncationReport(**info["truncation"])


def _filled(folder: Path) -> bool:
    return (folder / SAMPLES_FILE).stat().st_size > 0


def _train(number: int) -> str:
    return f"train-{number}"


def _key(recipe: Recipe, context: ExampleContext) -> str:
    """Changes when the examples might: the files by size and time, and everything that decides how they are cut."""
    files = [
        (str(file), file.stat().st_size, file.stat().st_mtime_ns)
        for part in (recipe.data.train, recipe.data.valid, recipe.data.test, recipe.data.general, recipe.data.prompts)
        for source in part
        for file in open_source(source).files
    ]
    digest = hashlib.sha256(json.dumps(files).encode())
    digest.update(recipe.dump().encode())
    if recipe.data.rehearse and recipe.model.source is not None:  # its answers are among the examples
        digest.update(weights_digest(find_model_folder(recipe.model.source)).encode())
    digest.update(f"{__version__}\0{context.renderer.template}\0{context.tokenizer.backend.to_str()}".encode())
    return digest.hexdigest()


@dataclass
class _Reader:
    """Reads sources into examples and counts the rows it had to leave out."""

    recipe: Recipe
    context: ExampleContext
    on_item: Callable[[], None]
    objective: Objective
    skipped: int = 0

    def read(
        self, sources: Iterable[SourceConfig], altered: Callable[[Record], Record] = lambda item: item
    ) -> Iterator[tuple[Record, list[Example]]]:
        """Every item and the examples of what is made of it, cut to the row length."""
        for wanted in sources:
            source = open_source(wanted, skip_bad=self.recipe.data.skip_bad)
            for place, item in islice(source.rows(), wanted.limit):
                self.on_item()
                try:
                    examples = list(self.objective.examples(altered(item), self.context))
                except UserError as error:
                    if not self.recipe.data.skip_bad:
                        raise InvalidData(f"{place}: {error}") from error
                    self.skipped += 1
                else:
                    yield item, examples
            self.skipped += source.bad_count
            for name, count in source.unread.items():
                self.context.truncation.unread[name] = self.context.truncation.unread.get(name, 0) + count


def misspell_user_turns(item: Record, chance: float, seed: int) -> Record:
    """A dialogue whose user turns are misspelt, by chance, a tenth of their words; the same for the same content."""
    if not isinstance(item, Conversation) or Random(f"{seed} {near_duplicate_key(item)}").random() >= chance:
        return item

    def rough(messages: Sequence[Message]) -> tuple[Message, ...]:
        # By the text itself, so that what two ends have in common stays common.
        return tuple(
            replace(m, content=add_typos(m.content, Random(f"{seed} {m.content}"), NOISY_WORDS))
            if m.role == "user"
            else m
            for m in messages
        )

    return replace(item, messages=rough(item.messages), rejected=rough(item.rejected))


def _general(recipe: Recipe) -> Objective:
    """What is not to be forgotten is measured as it is learned, or by its replies where the objective compares."""
    return OBJECTIVES.parse_plugin("sft") if recipe.objective.NEEDS_REFERENCE else recipe.objective


def _nothing_left(recipe: Recipe, *, held_out: bool) -> str:
    paths = ", ".join(source.path for source in recipe.data.train)
    if held_out:
        return (
            f"All of {paths} was held out for validation, so nothing is left to learn from. Add dialogues, name "
            "validation data of its own, or set 'data.valid_fraction' to 0."
        )
    return f"{paths} holds nothing to learn from: {recipe.objective.EMPTY_MESSAGE}."
