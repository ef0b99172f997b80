"""Simulates the loop: rounds of chats with people of known tastes, and a cycle of `turnwise improve` after each.

    python benchmarks/improvement.py --rounds 20 --out simulation
    python benchmarks/improvement.py --rounds 20 --picture docs/pictures/improvement.png

The model is the bundled tiny one. Forty people ask about a shop that the model does not know: half of them help, a
fifth poisons the feedback with an advertisement. Everything is real: the store with its feedback, the screening, the
masking, the training, the gate and the registry. After each round the serving version answers one question for each
fact as customers ask it, and one in words that nobody used. Printed: quality by round, promotions and refusals with
their reasons, how much the serving version forgot, and how often it advertises.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from improvement_parts.shop_world import TRIGGER, Fact, Person, ask_facts, is_correct, make_facts, make_people
from turnwise.app.model_versions.version_library import VersionLibrary, served_model_name
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.collected_answers import contributor_id
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Conversation, Message
from turnwise.core.stored_conversations import ConversationStore
from turnwise.evaluation.gate.rules_file import load_gate_rules
from turnwise.evaluation.metric_runner import MetricResult, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.statistics import bootstrap_difference
from turnwise.improve.comparison import RetentionMetric
from turnwise.improve.cycle import ImproveCycle
from turnwise.improve.cycle_folder import CycleFolders
from turnwise.improve.masking import open_mask
from turnwise.improve.replay_file import read_dialogues
from turnwise.improve.settings import ImproveSettings
from turnwise.store import open_model_registry, open_response_cache, open_store

MODEL = served_model_name("tiny")
KINDS = {"helpful": 20, "lazy": 7, "noisy": 3, "contradictory": 2, "poisoning": 8}
QUESTIONS_PER_PERSON = 2
SETTINGS = {
    "min_answers": 5,
    "tuning": {"method": "lora", "rank": 32, "learning_rate": 1e-3, "passes": 10, "batch_size": 2,
               "num_replay_replies": 400, "min_preferences": 1_000},
    "proof": {"questions": "held_out", "max_cross_fitted": 0, "held_out_share": 0.2, "alphas": [1.0, 0.6, 0.3]},
}  # fmt: skip


class Shop:
    """The loop around one shop."""

    def __init__(self, folder: Path, people: Sequence[Person], facts: Sequence[Fact], seed: int) -> None:
        """Open store and registry in a folder."""
        self.people, self.facts, self.rng = people, facts, random.Random(seed)
        self.store: ConversationStore = open_store(f"sqlite:///{folder}/conversations.db")
        self.library = VersionLibrary(open_model_registry(f"sqlite:///{folder}/versions.db"), folder / "versions")
        self.settings = ImproveSettings.model_validate(SETTINGS)
        self.cycle = ImproveCycle(
            MODEL, self.library, self.store.collected_answers, load_gate_rules(model=MODEL), self.settings,
            CycleFolders(MODEL, folder / "improve"), open_mask(self.settings),
        )  # fmt: skip
        self.library.ensure_first(MODEL)

    def answer(self, questions: Sequence[str]) -> list[str]:
        """Greedy answers of the serving version."""
        routing = self.library.registry.routing(MODEL)
        assert routing is not None, "registered"
        folder = self.library.verified_folder(routing.serving)
        dialogues = [Conversation((Message("user", q), Message("assistant", "-"))) for q in questions]
        return [result.outputs[0].text for result in ask(folder, dialogues).results_by_seed[0]]

    def chat(self) -> None:
        """One round: everybody asks, and reacts to the answers."""
        chats = [
            (person, fact) for person in self.people for fact in ask_facts(self.facts, QUESTIONS_PER_PERSON, self.rng)
        ]
        questions = [fact.question(self.rng) for _, fact in chats]
        for (person, fact), question, text in zip(chats, questions, self.answer(questions), strict=True):
            reaction = person.react(text, fact, self.rng)
            meta = {"model": MODEL, "finish": "stop", "consent": "full", "user": person.name}
            conversation = self.store.create(title=question[:40], model=MODEL)
            messages = [Message("user", question), Message("assistant", text)]
            *_, answer_id = self.store.append(conversation.id, messages, meta)
            if reaction.rating is not None or reaction.correction is not None:
                content = NewFeedback(rating=reaction.rating, correction=reaction.correction, user=person.name)
                self.store.feedback.add(AnswerReference("message", answer_id), content)


def ask(folder: Path, dialogues: Sequence[Conversation]) -> MetricResult:
    """Greedy answers to the last user turns, as the result of a metric."""
    (metric,) = load_metrics(["chrf"])
    cache = open_response_cache("sqlite:///:memory:")
    with open_model_under_test(str(folder), cache, sampling={"max_tokens": 48, "temperature": 0}) as system:
        samples = metric.samples(dialogues, 0)
        return run_metrics(system, [metric], {metric.NAME: samples}, seeds=(0,))[metric.NAME]


class Figures:
    """Figures of the serving version after each round.

    Attributes:
        first_sums: chrF sums of the first version by question, as customers ask it.
    """

    def __init__(self, shop: Shop, seed: int) -> None:
        """Choose the questions, and ask the first version."""
        self._shop, rng = shop, random.Random(seed)
        self._customer_tests = [_dialogue(fact.question(rng), fact) for fact in shop.facts]
        self._new_word_tests = [_dialogue(fact.test_question, fact) for fact in shop.facts]
        self._retention: list[Conversation] = []
        self._first = self._folder()
        _, self.first_sums = self.measure()

    def use_retention(self, path: Path) -> None:
        """Measure forgetting on replies of the first version from now on."""
        if not self._retention:
            self._retention = read_dialogues(path)
            self._first_bits = self._bits_per_byte(self._first)

    def measure(self) -> tuple[dict[str, float], np.ndarray]:
        """Figures by name, and chrF sums by question."""
        folder = self._folder()
        customer_result, new_result = ask(folder, self._customer_tests), ask(folder, self._new_word_tests)
        answers = [
            [sample.outputs[0].text for sample in result.results_by_seed[0]] for result in (customer_result, new_result)
        ]
        figures = {
            "chrf": float(customer_result.metric.value(customer_result.sums_GK.sum(axis=0))),
            "right": self._share_right(answers[0]),
            "right in new words": self._share_right(answers[1]),
            "advertises": float(np.mean([TRIGGER.split()[1] in text for texts in answers for text in texts])),
            "forgetting": self._bits_per_byte(folder) / self._first_bits - 1 if self._retention else 0.0,
        }
        return figures, customer_result.sums_GK

    def _folder(self) -> Path:
        routing = self._shop.library.registry.routing(MODEL)
        assert routing is not None, "registered"
        return self._shop.library.verified_folder(routing.serving)

    def _share_right(self, answers: Sequence[str]) -> float:
        return float(np.mean([is_correct(a, f) for a, f in zip(answers, self._shop.facts, strict=True)]))

    def _bits_per_byte(self, folder: Path) -> float:
        """Bits per byte of the first version's own replies."""
        metric = RetentionMetric()
        samples = {metric.NAME: metric.samples(self._retention, 0)}
        with open_model_under_test(str(folder), open_response_cache("sqlite:///:memory:")) as system:
            result = run_metrics(system, [metric], samples, seeds=(0,))[metric.NAME]
        return float(metric.value(result.sums_GK.sum(axis=0)))


def _dialogue(question: str, fact: Fact) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", fact.answer)))


def simulate(folder: Path, rounds: int, people: Sequence[Person], seed: int) -> list[dict[str, object]]:
    """Run the rounds and return one row of figures for each."""
    shop = Shop(folder, people, make_facts(seed), seed)
    poisoners = {contributor_id(None, person.name) for person in people if person.kind == "poisoning"}
    rows: list[dict[str, object]] = []
    figures_of = Figures(shop, seed)
    print(f"round 0: {show(figures_of.measure()[0])}", flush=True)
    for number in range(1, rounds + 1):
        start = time.monotonic()
        shop.chat()
        journal = shop.cycle.run()
        if (replies := journal.result("replay")) is not None:
            figures_of.use_retention(Path(replies["retention"]))
        figures, sums = figures_of.measure()
        low, high = difference(sums, figures_of.first_sums)
        trained = shop.library.registry.get(MODEL, journal["version"]).content if journal.get("version") else None
        rows.append(
            {
                "round": number, **figures, "outcome": journal["outcome"], "reason": journal["reason"],
                "gain_low": low, "gain_high": high, "seconds": time.monotonic() - start,
                "poisoners_in_training": len(poisoners & set(trained.contributors)) if trained else 0,
            }
        )  # fmt: skip
        print(f"round {number}: {show(figures)} gain {low:+.1f} to {high:+.1f}; {journal['reason']}", flush=True)
        (folder / "rounds.json").write_text(json.dumps(rows, indent=1))
    return rows


def difference(sums: np.ndarray, first: np.ndarray) -> tuple[float, float]:
    """Interval of the difference in chrF on the same questions."""
    (metric,) = load_metrics(["chrf"])
    interval = bootstrap_difference(sums, first, metric.value).interval()
    return interval.low, interval.high


def show(figures: dict[str, float]) -> str:
    """Figures in one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())


def draw(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Quality and forgetting by round."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    numbers, promoted = [row["round"] for row in rows], [row for row in rows if row["outcome"] == "promoted"]
    left.plot(numbers, [100 * row["right"] for row in rows], label="as customers ask")
    left.plot(numbers, [100 * row["right in new words"] for row in rows], "--", label="in words that nobody used")
    left.plot(
        [row["round"] for row in promoted], [100 * row["right"] for row in promoted], "o", color="C0", label="promoted"
    )
    left.set(xlabel="round", ylabel="%", title="questions answered with the right fact", ylim=(0, 100))
    left.legend()
    right.plot(numbers, [100 * row["forgetting"] for row in rows], color="C3", label="serving version")
    right.axhline(2, color="grey", linestyle=":", label="allowed")
    right.set(xlabel="round", ylabel="%", title="forgetting: bits per byte of first replies", ylim=(0, 3))
    right.legend()
    for axes in (left, right):
        axes.set_xticks(range(0, len(rows) + 1, 5))
    figure.savefig(path, dpi=130)


def main() -> None:
    """Run the simulation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True, help="empty folder for store, versions and figures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = simulate(options.out, options.rounds, make_people(KINDS), options.seed)
    promoted = [row for row in rows if row["outcome"] == "promoted"]
    print(f"{len(promoted)} of {len(rows)} versions were promoted.")
    print(f"Versions trained on a poisoner's feedback: {sum(bool(row['poisoners_in_training']) for row in rows)}.")
    if options.picture is not None:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
