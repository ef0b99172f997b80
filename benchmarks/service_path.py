"""Customer service of the invented shop: the whole path, and each of its parts alone, on 300 written dialogues.

    python benchmarks/service_path.py WORK --model assistant --embedding-model e5-small
    python benchmarks/service_path.py WORK --only path templates --limit 20
    python benchmarks/service_path.py WORK --only-dialogues zh_far           # ids that begin so
    python benchmarks/service_path.py WORK --set second                      # 100 others

Prints the shares of dialogues that are resolved, wrong, not resolved and handed off, with Wilson intervals, per
language and kind, the median seconds of a reply, and the differences between the path and each other system with
intervals of a paired bootstrap and of Newcombe. WORK gets a file of JSON lines per system with every reply, decision,
verdict and reason. Dialogues that are in it are judged again, but not played again unless the scenario or a model has
changed. Delete the file after a change of the code.

`service_path_parts/judge.py` has the rules of the judge, `service_path/` the dialogues. Their messages were written
with the documents, facts and names of intents at hand, without a look at examples, phrases and templates. Checks were
then corrected where they rejected a right reply or accepted a false one.
"""

import argparse
import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from service_path_parts.dialogues import SETS, Dialogue, read_dialogues
from service_path_parts.playing import Journal, PlayedDialogue
from service_path_parts.systems import (
    DialogueSystem,
    ModelAlone,
    RetrievalAlone,
    ServicePath,
    TemplatesAlone,
    shop_texts,
)
from service_path_parts.table import print_tables
from turnwise.app.chat_services import open_chat_service
from turnwise.app.embedding_services import open_embedding_service
from turnwise.app.scenario_folders import find_scenario
from turnwise.app.scenario_services import add_service_path, open_resources
from turnwise.app.stores import open_conversation_store
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.scenario_library import ScenarioLibrary

SYSTEMS = ("model", "retrieval", "templates", "path")
PROGRESS_EVERY = 20


def main() -> None:
    """Play the dialogues with each system and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of the results")
    parser.add_argument("--scenario", default="customer_service", help="name or folder")
    parser.add_argument("--model", default="assistant")
    parser.add_argument("--embedding-model", help="recognises intents; default: words and characters")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, metavar="SYSTEM")
    parser.add_argument("--set", choices=tuple(SETS), default="first", help="set of dialogues")
    parser.add_argument("--only-dialogues", default="", metavar="PREFIX", help="dialogues whose id begins so")
    parser.add_argument("--limit", type=int, help="so many dialogues, spread over all")
    parser.add_argument("--rewrite-templates", action="store_true", help="as turnwise serve --rewrite-templates")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    definition = find_scenario(options.scenario)
    dialogues = [entry for entry in read_dialogues(set_name=options.set) if entry.id.startswith(options.only_dialogues)]
    if options.limit is not None:
        dialogues = spread(dialogues, options.limit)
    if not dialogues:
        parser.error(f"no dialogue's id begins with '{options.only_dialogues}'.")
    with ExitStack() as stack:
        systems, key = open_systems(stack, definition, options)
        results = asyncio.run(play_all(systems, dialogues, definition, options.work, key))
    print_tables(results)


def spread(dialogues: Sequence[Dialogue], limit: int) -> list[Dialogue]:
    """At most `limit` dialogues at equal distances, so that every kind has some."""
    step = max(1.0, len(dialogues) / max(1, limit))
    return [dialogues[int(index * step)] for index in range(min(limit, len(dialogues)))]


def open_systems(
    stack: ExitStack, definition: ScenarioDefinition, options: argparse.Namespace
) -> tuple[list[DialogueSystem], str]:
    """The chosen systems on one model, and a key of everything that their replies depend on."""
    embeddings = None
    if options.embedding_model is not None:
        embeddings = open_embedding_service(options.embedding_model, threads=options.threads)
    folder = stack.enter_context(TemporaryDirectory())
    store = stack.enter_context(open_conversation_store(f"sqlite:///{folder}/conversations.db"))
    assert store is not None
    model = stack.enter_context(open_chat_service(options.model, threads=options.threads, store=store))
    path = add_service_path(
        {model.name: model}, ScenarioLibrary([], [definition.folder]), embeddings=embeddings,
        rewrites_templates=options.rewrite_templates, resources=open_resources(embeddings, waits=True),
    )[model.name]  # fmt: skip
    encoder = None if embeddings is None else EmbeddingEncoder(embeddings)
    resources = ResourceCache(encoder, waits=True)
    systems: list[DialogueSystem] = [
        ModelAlone(model, definition),
        RetrievalAlone(definition, resources),
        TemplatesAlone(model, definition, resources),
        ServicePath(path, definition.name, store),
    ]
    parts = (
        definition.content_hash,
        model.fingerprint,
        "" if encoder is None else encoder.id,
        options.rewrite_templates,
    )
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return [system for system in systems if system.name in options.only], key


async def play_all(
    systems: Sequence[DialogueSystem],
    dialogues: Sequence[Dialogue],
    definition: ScenarioDefinition,
    work: Path,
    key: str,
) -> dict[str, list[PlayedDialogue]]:
    """Play every dialogue with every system, one after the other, because time is measured too."""
    shop = shop_texts(definition)
    results: dict[str, list[PlayedDialogue]] = {}
    for system in systems:
        journal = Journal(work / f"{system.name}.jsonl", key)
        results[system.name] = []
        for number, dialogue in enumerate(dialogues, 1):
            results[system.name].append(await journal.play(dialogue, system, shop))
            if number % PROGRESS_EVERY == 0:
                print(f"{system.name}: {number} of {len(dialogues)}", flush=True)
        journal.rewrite(results[system.name])
    return results


if __name__ == "__main__":
    main()
