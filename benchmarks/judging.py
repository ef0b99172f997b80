"""Whether scores of dialogues tell good from bad: replies that belong to what was said, and ones that do not.

    python benchmarks/judging.py real.jsonl --made made.jsonl                 the model in the box judges
    python benchmarks/judging.py real.jsonl --made made.jsonl --model FOLDER

Every first exchange of `real` is scored with its own reply and with the reply of another dialogue, and every whole
dialogue as it is and with all replies exchanged for those of another. AUC is how often a real one has the higher score
than one that is not, ties counting half: 0.5 is guessing. `made` dialogues are set against the real ones likewise.
"""

import argparse
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from turnwise.app.chat_services import open_chat_service
from turnwise.core.messages import Conversation
from turnwise.data.sources import read_source
from turnwise.synthesis.dialogue_scorer import DialogueScorer, scores_of
from turnwise.synthesis.ordered_tasks import iterate_sync

SCORES = ("likelihood", "relevance", "novelty")


def read(path: str, most: int) -> list[Conversation]:
    """The first dialogues of a file that have a reply."""
    found = (item for item in read_source(path) if isinstance(item, Conversation) and replies(item))
    return [item for item, _ in zip(found, range(most), strict=False)]


def replies(dialogue: Conversation) -> list[str]:
    """What the assistant says in it."""
    return [message.content for message in dialogue.messages if message.role == "assistant"]


def first_exchange(dialogue: Conversation) -> Conversation:
    """What comes before the first reply, and that."""
    end = next(place for place, message in enumerate(dialogue.messages) if message.role == "assistant") + 1
    return replace(dialogue, messages=dialogue.messages[:end])


def with_replies_of(dialogue: Conversation, other: Sequence[str]) -> Conversation:
    """The dialogue with another's replies, which begin again where they run out."""
    messages, used = [], 0
    for message in dialogue.messages:
        if message.role == "assistant":
            message = replace(message, content=other[used % len(other)])
            used += 1
        messages.append(message)
    return replace(dialogue, messages=tuple(messages))


def swapped(dialogues: Sequence[Conversation], rng: random.Random) -> list[Conversation]:
    """Each with the replies of one that says something else first."""
    made = []
    for dialogue in dialogues:
        others = [replies(other) for other in dialogues]
        made.append(with_replies_of(dialogue, rng.choice([o for o in others if o[0] != replies(dialogue)[0]])))
    return made


def scored(judge: DialogueScorer, dialogues: Iterable[Conversation]) -> dict[str, np.ndarray]:
    """Their scores, by name."""
    found = [scores_of(item) for item in iterate_sync(judge.score_all(dialogues, 16))]
    return {name: np.array([scores[name] for scores in found if name in scores]) for name in SCORES}


def auc(real: np.ndarray, other: np.ndarray) -> float:
    """How often one of `real` is above one of `other`."""
    above, same = real[:, None] > other[None, :], real[:, None] == other[None, :]
    return float(above.mean() + same.mean() / 2)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real")
    parser.add_argument("--made")
    parser.add_argument("--model", default="box")
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    dialogues = read(asked.real, asked.most)
    exchanges = [first_exchange(dialogue) for dialogue in dialogues]
    with open_chat_service(asked.model) as service:
        judge = DialogueScorer(service)
        first, whole = scored(judge, exchanges), scored(judge, dialogues)
        rows = {
            "first replies, swapped": (first, scored(judge, swapped(exchanges, rng))),
            "whole dialogues, replies swapped": (whole, scored(judge, swapped(dialogues, rng))),
        }
        if asked.made:
            rows["made dialogues"] = (whole, scored(judge, read(asked.made, asked.most)))
    print(f"{len(dialogues)} dialogues of {asked.real}, judged by {service.name}")
    print(f"{'AUC against':34}" + "".join(f"{name:>12}" for name in SCORES))
    for label, (real, other) in rows.items():
        print(f"{label:34}" + "".join(f"{auc(real[name], other[name]):12.3f}" for name in SCORES))
    for label, of in (("real", whole), *((label, other) for label, (_, other) in list(rows.items())[1:])):
        print(f"median of {label:24}" + "".join(f"{np.median(of[name]):12.2f}" for name in SCORES))


if __name__ == "__main__":
    main()
