"""How well dialogue scores separate real dialogues from dialogues with replaced replies, as AUC.

    python benchmarks/score_auc.py real.jsonl --synthetic simulated.jsonl                   scored by the bundled model
    python benchmarks/score_auc.py real.jsonl --synthetic simulated.jsonl --model FOLDER

The first exchanges of the real dialogues are compared with the same exchanges after their reply is replaced by one of a
random other dialogue, and the complete dialogues with themselves after all replies are replaced. AUC is the probability
that a real dialogue scores higher; ties count half, 0.5 is chance level. Synthetic dialogues are compared with the real
ones in the same way.
"""

import argparse
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from turnwise.app.chat_services import open_chat_service
from turnwise.core.messages import Conversation
from turnwise.core.ordered_results import iterate_sync
from turnwise.data.sources import read_source
from turnwise.synthesis.dialogue_scorer import DialogueScorer, scores_of

SCORES = ("likelihood", "relevance", "novelty")
CONCURRENCY = 16  # dialogues scored at the same time


def read_dialogues(path: str, max_items: int) -> list[Conversation]:
    """The first `max_items` dialogues of a file that have a reply."""
    dialogues = (item for item in read_source(path) if isinstance(item, Conversation) and replies(item))
    return [dialogue for dialogue, _ in zip(dialogues, range(max_items), strict=False)]


def replies(dialogue: Conversation) -> list[str]:
    """Contents of the assistant's messages."""
    return [message.content for message in dialogue.messages if message.role == "assistant"]


def first_exchange(dialogue: Conversation) -> Conversation:
    """The dialogue up to its first reply."""
    end = next(index for index, message in enumerate(dialogue.messages) if message.role == "assistant") + 1
    return replace(dialogue, messages=dialogue.messages[:end])


def replace_replies(dialogue: Conversation, new_replies: Sequence[str]) -> Conversation:
    """The dialogue with these replies instead; they are repeated if there are too few."""
    messages, num_replaced = [], 0
    for message in dialogue.messages:
        if message.role == "assistant":
            message = replace(message, content=new_replies[num_replaced % len(new_replies)])
            num_replaced += 1
        messages.append(message)
    return replace(dialogue, messages=tuple(messages))


def swap_replies(dialogues: Sequence[Conversation], rng: random.Random) -> list[Conversation]:
    """The dialogues, each with the replies of a random other one that has a different first reply."""
    swapped = []
    for dialogue in dialogues:
        candidates = [new for new in map(replies, dialogues) if new[0] != replies(dialogue)[0]]
        swapped.append(replace_replies(dialogue, rng.choice(candidates)))
    return swapped


def score(scorer: DialogueScorer, dialogues: Iterable[Conversation]) -> dict[str, np.ndarray]:
    """Scores of the dialogues by name, without missing ones."""
    all_scores = [scores_of(item) for item in iterate_sync(scorer.score_all(dialogues, CONCURRENCY))]
    return {name: np.array([scores[name] for scores in all_scores if name in scores]) for name in SCORES}


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Probability that a positive exceeds a negative, ties counting half."""
    above, equal = positives[:, None] > negatives[None, :], positives[:, None] == negatives[None, :]
    return float(above.mean() + equal.mean() / 2)


def main() -> None:
    """Print a table of AUCs and medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", help="a file of dialogues")
    parser.add_argument("--synthetic", help="a file of synthetic dialogues")
    parser.add_argument("--model", default="box")
    parser.add_argument(
        "--max-items", type=int, default=200, help="maximum number of dialogues per file (default: 200)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    dialogues = read_dialogues(args.real, args.max_items)
    exchanges = [first_exchange(dialogue) for dialogue in dialogues]
    with open_chat_service(args.model) as service:
        scorer = DialogueScorer(service)
        exchange_scores, dialogue_scores = score(scorer, exchanges), score(scorer, dialogues)
        rows = {
            "first replies, swapped": (exchange_scores, score(scorer, swap_replies(exchanges, rng))),
            "complete dialogues, replies swapped": (dialogue_scores, score(scorer, swap_replies(dialogues, rng))),
        }
        if args.synthetic:
            synthetic = read_dialogues(args.synthetic, args.max_items)
            rows["synthetic dialogues"] = (dialogue_scores, score(scorer, synthetic))
    print(f"{len(dialogues)} dialogues of {args.real}, scored by {service.name}")
    print(f"{'AUC against':38}" + "".join(f"{name:>12}" for name in SCORES))
    for label, (positives, negatives) in rows.items():
        print(f"{label:38}" + "".join(f"{auc(positives[name], negatives[name]):12.3f}" for name in SCORES))
    medians = {"real": dialogue_scores} | {label: negatives for label, (_, negatives) in list(rows.items())[1:]}
    for label, scores in medians.items():
        print(f"median of {label:28}" + "".join(f"{np.median(scores[name]):12.2f}" for name in SCORES))


if __name__ == "__main__":
    main()
