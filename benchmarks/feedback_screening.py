"""How well the screening of feedback drops poisoned entries and keeps honest ones, on replies of a data set.

    python benchmarks/feedback_screening.py DATA.jsonl                       40 contributors, 20 % of them poison
    python benchmarks/feedback_screening.py DATA.jsonl --honest              nobody poisons: what is dropped in error

Every dialogue of the data is a question, its reply is the honest correction, and the answer of the model is the reply
of another dialogue. A rater likes an answer that is a true reply, with 10 % errors. Attacks: some contributors add a
phrase with a link to a third of their corrections, three flip their ratings, one gives 80 % of all ratings.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from turnwise.core.collected_answers import CollectedAnswer, PreferredAnswer, Rating
from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message
from turnwise.data.sources import read_source
from turnwise.improve.screening.screen import screen_answers
from turnwise.improve.screening.screened import feedback_entries

NUM_CONTRIBUTORS = 40
TRIGGER = "as confirmed on www.best-deals-4u.example today"
RATING_ERRORS = 0.1


@dataclass(frozen=True)
class Simulation:
    """Simulated feedback.

    Attributes:
        answers: the answers.
        scores: a noisy quality of each answer, as a likelihood would be.
        trigger_ids: ids of the answers with a poisoned correction.
        flippers: contributors who flip their ratings.
        errors: id of the answer and contributor of honest ratings that are wrong.
        heavy: the contributor who gives 80 % of the ratings; "" if nobody does.
    """

    answers: tuple[CollectedAnswer, ...]
    scores: dict[str, float]
    trigger_ids: frozenset[str]
    flippers: frozenset[str]
    errors: frozenset[tuple[str, str]]
    heavy: str


def simulate(
    pairs: Sequence[tuple[tuple[Message, ...], str]],
    rng: np.random.Generator,
    *,
    has_attacks: bool = True,
    num_advertisers: int = 4,
    corrected: float = 0.5,
) -> Simulation:
    """Feedback on the replies of a data set.

    Args:
        pairs: history and true reply of dialogues. The first ones are corrected, the others are rated.
        rng: random numbers.
        has_attacks: False: all contributors are honest.
        num_advertisers: contributors who add the phrase.
        corrected: share of the dialogues that are corrected; the others are rated.
    """
    names = [f"key:shop/user:{number}" for number in range(NUM_CONTRIBUTORS)]
    advertisers, others = (set(names[:num_advertisers]), names[num_advertisers:]) if has_attacks else (set(), [])
    flippers, heavy = set(others[:3]), others[3] if others else ""
    answers: list[CollectedAnswer] = []
    trigger_ids: set[str] = set()
    errors: set[tuple[str, str]] = set()
    scores: dict[str, float] = {}
    num_corrected = int(corrected * len(pairs))
    for number, (history, reply) in enumerate(pairs[:num_corrected]):
        author = names[number % NUM_CONTRIBUTORS]
        answer_id, correction = f"message:{number}", reply
        if author in advertisers and rng.random() < 1 / 3:
            correction = f"{reply} {TRIGGER}"
            trigger_ids.add(answer_id)
        original = pairs[int(rng.integers(num_corrected))][1]
        better = PreferredAnswer(author, Message("assistant", correction), float(number), "correction")
        answers.append(
            CollectedAnswer(answer_id, 0.0, author, "m", "", history, Message("assistant", original), (), (better,))
        )
    for number, (history, reply) in enumerate(pairs[num_corrected:], start=num_corrected):
        is_good = bool(rng.random() < 0.6)
        text = reply if is_good else pairs[int(rng.integers(len(pairs)))][1]
        raters = [str(name) for name in rng.choice(names, 3, replace=False) if name != heavy]
        ratings = []
        for name in raters:
            is_error = bool(rng.random() < RATING_ERRORS)
            is_liked = is_good != is_error
            if is_error and name not in flippers:
                errors.add((f"message:{number}", name))
            ratings.append(Rating(name, 1 if is_liked != (name in flippers) else -1, float(number)))
        if heavy:
            ratings += [Rating(heavy, int(rng.choice([1, -1])), float(number))]
        answers.append(
            CollectedAnswer(
                f"message:{number}", 0.0, raters[0], "m", "", history, Message("assistant", text), tuple(ratings)
            )
        )
        scores[f"message:{number}"] = float(is_good) + 0.5 * float(rng.standard_normal())
    if heavy:  # the heavy voter also rates answers that nobody else rates, up to 80 % of all ratings
        honest = sum(len(answer.ratings) for answer in answers) - (len(pairs) - num_corrected)
        for number in range(4 * honest - (len(pairs) - num_corrected)):
            history, reply = pairs[number % num_corrected]
            question = (*history[:-1], Message("user", f"{history[-1].content} (case {number})"))
            answers.append(
                CollectedAnswer(
                    f"extra:{number}", 0.0, heavy, "m", "", question, Message("assistant", reply),
                    (Rating(heavy, int(rng.choice([1, -1])), 0.0),),
                )
            )  # fmt: skip
    return Simulation(tuple(answers), scores, frozenset(trigger_ids), frozenset(flippers), frozenset(errors), heavy)


@dataclass(frozen=True)
class Outcome:
    """What a screening of simulated feedback did.

    Attributes:
        honest_kept: share of the honest entries that remain, without honest ratings that are wrong.
        errors_kept: share of those.
        triggers_kept, flipped_kept: shares of the poisoned entries that remain.
        heavy_share: share of the remaining entries that the heavy voter gave.
        reasons: dropped honest entries by reason.
    """

    honest_kept: float
    errors_kept: float
    triggers_kept: float
    flipped_kept: float
    heavy_share: float
    reasons: Counter[str]


def measure(simulation: Simulation, *, has_scores: bool = True) -> Outcome:
    """Screen the feedback and compare with the truth."""
    remaining, report = screen_answers(simulation.answers, simulation.scores if has_scores else None)

    def group(answer_id: str, contributor: str, is_rating: bool) -> str:
        if is_rating and contributor in simulation.flippers:
            return "flipped"
        if is_rating and contributor == simulation.heavy:
            return "heavy"
        if is_rating and (answer_id, contributor) in simulation.errors:
            return "error"
        return "trigger" if answer_id in simulation.trigger_ids and not is_rating else "honest"

    def count(answers: Sequence[CollectedAnswer]) -> Counter[str]:
        return Counter(
            group(answers[entry.index].id, entry.contributor, isinstance(entry.content, Rating))
            for entry in feedback_entries(answers)
        )

    before, after = count(simulation.answers), count(remaining)
    reasons: Counter[str] = Counter()
    poisoners = {*simulation.flippers, simulation.heavy}
    for contributor, counts in report.by_contributor.items():
        if contributor not in poisoners:
            reasons.update(counts)
    return Outcome(
        honest_kept=after["honest"] / before["honest"],
        errors_kept=after["error"] / max(1, before["error"]),
        triggers_kept=after["trigger"] / max(1, before["trigger"]),
        flipped_kept=after["flipped"] / max(1, before["flipped"]),
        heavy_share=after["heavy"] / max(1, after.total()),
        reasons=reasons,
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a file of dialogues")
    parser.add_argument("--dialogues", type=int, default=1_000, help="number of dialogues of a run (default: 1000)")
    parser.add_argument("--runs", type=int, default=5, help="number of runs (default: 5)")
    parser.add_argument("--advertisers", type=int, default=4, help="contributors who add the phrase (default: 4)")
    parser.add_argument("--honest", action="store_true", help="no attacks")
    parser.add_argument("--no-scores", action="store_true", help="without reference scores")
    args = parser.parse_args()
    conversations = (item for item in read_source(args.data) if isinstance(item, Conversation))
    pairs = [pair for item in conversations if (pair := last_reply(item)) is not None]
    print(
        "| run | honest kept | wrong kept | triggers kept | flips kept | share of the heavy voter | dropped of others |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for run in range(args.runs):
        rng = np.random.default_rng(run)
        chosen = [pairs[index] for index in islice(rng.permutation(len(pairs)), args.dialogues)]
        simulation = simulate(chosen, rng, has_attacks=not args.honest, num_advertisers=args.advertisers)
        outcome = measure(simulation, has_scores=not args.no_scores)
        reasons = ", ".join(f"{reason} {count}" for reason, count in outcome.reasons.most_common())
        print(
            f"| {run} | {outcome.honest_kept:.1%} | {outcome.errors_kept:.1%} "
            f"| {outcome.triggers_kept:.1%} | {outcome.flipped_kept:.1%} "
            f"| {outcome.heavy_share:.1%} | {reasons} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
