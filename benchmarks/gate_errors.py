"""Error rates of the gate and of the canary test: false promotions of equal systems, and how soon true gains are seen.

    python benchmarks/gate_errors.py                     all tables, and docs/pictures/gate_errors.png
    python benchmarks/gate_errors.py --quick             a tenth of the runs, without the picture

1. Looks: two equal systems on the same dialogues, compared after every dialogue. The scores of both share the
   difficulty of the dialogue, so that they correlate by 0.6 to 0.7.
2. Rounds: 200 candidates that are no better than the serving model, each compared with it on all held-out dialogues so
   far: 60, and 10 more in every round. Consecutive candidates correlate. A promoted candidate serves from then on.
3. Canary: failures of two versions, counted as a server counts them, and looked at after every 20 answers.

Shares have Wilson intervals of 95 %.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import special, stats

from turnwise.chat.versions.outcome_counter import AnswerOutcome, OutcomeCounter
from turnwise.core.model_versions import ModelVersion, NewVersion, VersionOutcomes, VersionRouting
from turnwise.evaluation.alpha_spending import spent_alpha
from turnwise.evaluation.confidence_sequences import mean_e_values
from turnwise.evaluation.metric import FloatArray, ratio
from turnwise.evaluation.proportion_sequences import BinomialCount, OddsRatioTest
from turnwise.evaluation.statistics import bootstrap_difference, wilson_interval

ALPHA, POWER = 0.05, 0.8
ROUNDS, FIRST_DIALOGUES, MORE_DIALOGUES = 200, 60, 10
MAX_DIALOGUES, MAX_ANSWERS, BATCH = 2_000, 4_000, 20
SERVING, CANARY = 1, 2  # numbers of the versions
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "gate_errors.png"

Levels = Callable[[int], float]
"""Maps the number of a candidate since the last promotion to its significance level."""

SPENDING: dict[str, Levels] = {
    "5 % each": lambda _: ALPHA,
    "5 % / 200 each": lambda _: ALPHA / ROUNDS,
    "k^-2": lambda cycle: float(ALPHA * cycle**-2.0 / special.zeta(2)),
    "k^-1.3": lambda cycle: float(ALPHA * cycle**-1.3 / special.zeta(1.3)),
    "k^-1.6 (the gate)": lambda cycle: spent_alpha(cycle, ALPHA),
}


def share(outcomes: Sequence[bool]) -> str:
    """A share with its interval."""
    interval = wilson_interval(np.array(outcomes, dtype=np.float64))
    return f"{np.mean(outcomes):.1%} ({interval.low:.1%} to {interval.high:.1%})"


def outcome_pairs(rng: np.random.Generator, count: int, gain: float = 0.0) -> FloatArray:
    """Right (1) and wrong (0) outcomes of a new and an old system, `(2, T)`; the old one is right in half of them."""
    difficulty_T = rng.beta(0.6, 0.6, count)
    rate_T = difficulty_T + gain * (difficulty_T < 1 - gain)
    return np.stack([rng.random(count) < rate_T, rng.random(count) < difficulty_T]).astype(np.float64)


def first_rejection(e_values_T: FloatArray) -> float:
    """Number of the first look with a rejection; infinity if there is none."""
    looks = np.flatnonzero(e_values_T >= 1 / ALPHA)
    return float(looks[0] + 1) if len(looks) else np.inf


def t_test_rejects(difference_T: FloatArray, first: int = 30) -> bool:
    """Whether a one-sided t-test rejects at any look."""
    count_T = np.arange(1, len(difference_T) + 1)
    mean_T = np.cumsum(difference_T) / count_T
    error_T = np.sqrt(np.maximum(np.cumsum(difference_T**2) / count_T - mean_T**2, 1e-9) / count_T)
    return bool((mean_T / error_T >= stats.norm.isf(ALPHA))[first:].any())


def measure_looks(runs: int) -> dict[float, float]:
    """Print the table of looks; return the mean number of dialogues by gain, relative to a test of fixed size."""
    rng = np.random.default_rng(0)
    equal = [outcome_pairs(rng, MAX_DIALOGUES) for _ in range(runs)]
    print("\n| equal systems, looked at after every one of 2,000 dialogues | called better |\n| --- | --- |")
    print(f"| t-test at every look | {share([t_test_rejects(new - old) for new, old in equal])} |")
    e_values = (mean_e_values(new - old, 0, lowest=-1, highest=1) for new, old in equal)
    print(f"| confidence sequence | {share([bool(np.isfinite(first_rejection(e_value))) for e_value in e_values])} |")
    print("\n| equal systems, 100 dialogues, one look | called better |\n| --- | --- |")
    p_values = [_bootstrap_p_value(new[:100], old[:100]) for new, old in equal]
    for level in (ALPHA, spent_alpha(1, ALPHA), spent_alpha(3, ALPHA)):
        print(f"| bootstrap at {level:.2%} | {share([p_value <= level for p_value in p_values])} |")
    print(
        "\n| gain | dialogues of a fixed-size test (power 80 %) | mean with looks | ratio |\n| --- | --- | --- | --- |"
    )
    ratios = {}
    for gain in (0.05, 0.1, 0.15, 0.2):
        pairs = [outcome_pairs(rng, MAX_DIALOGUES, gain) for _ in range(max(20, runs // 4))]
        looks = [first_rejection(mean_e_values(new - old, 0, lowest=-1, highest=1)) for new, old in pairs]
        difference = np.concatenate([new - old for new, old in pairs])
        fixed = (stats.norm.isf(ALPHA) + stats.norm.isf(1 - POWER)) ** 2 * difference.var() / difference.mean() ** 2
        mean = float(np.minimum(looks, MAX_DIALOGUES).mean())
        ratios[gain] = mean / fixed
        print(f"| {difference.mean():+.1%} | {fixed:.0f} | {mean:.0f} | {mean / fixed:.2f} |")
    return ratios


def _bootstrap_p_value(new_T: FloatArray, old_T: FloatArray) -> float:
    """One-sided p-value of a metric that sums over answers with three seeds, so that no exact test applies."""
    ones_T = np.ones(len(new_T))
    new, old = (np.stack([values, ones_T], axis=1) for values in (new_T, old_T))
    return bootstrap_difference(
        new, old, lambda sums_XK: ratio(sums_XK[..., 0], sums_XK[..., 1]), resamples=499
    ).p_value_above()


def draw_candidates(rng: np.random.Generator, correlation: float) -> FloatArray:
    """Scores of the first serving model and of 200 candidates on all dialogues, `(201, G)`."""
    noise_RG = rng.standard_normal((ROUNDS + 1, FIRST_DIALOGUES + ROUNDS * MORE_DIALOGUES))
    for number in range(2, ROUNDS + 1):  # candidate 1 does not depend on the serving model
        noise_RG[number] *= np.sqrt(1 - correlation**2)
        noise_RG[number] += correlation * noise_RG[number - 1]
    return noise_RG


def simulate_rounds(
    scores_RG: FloatArray, levels: Levels, *, gain: float = 0.0, first_gain: int = ROUNDS + 1
) -> list[int]:
    """Rounds with a promotion. From round `first_gain` on, candidates are better by `gain` standard deviations."""
    promotions, cycle, serving = list[int](), 0, 0
    for number in range(1, ROUNDS + 1):
        count, cycle = FIRST_DIALOGUES + number * MORE_DIALOGUES, cycle + 1
        difference_G = scores_RG[number, :count] - scores_RG[serving, :count]
        mean = difference_G.mean() + (gain if number >= first_gain else 0.0)
        variance = np.dot(difference_G, difference_G) / count - difference_G.mean() ** 2
        if special.stdtr(count - 1, -mean / np.sqrt(variance / (count - 1))) <= levels(cycle):
            promotions.append(number)
            serving, cycle = number, 0
            if number >= first_gain:
                break
    return promotions


def measure_rounds(runs: int) -> dict[str, tuple[float, list[float]]]:
    """Print the table of rounds; return by spending the share of false promotions and the delays."""
    tables = {name: [levels(cycle + 1) for cycle in range(ROUNDS)] for name, levels in SPENDING.items()}
    spending: dict[str, Levels] = {name: lambda cycle, table=table: table[cycle - 1] for name, table in tables.items()}  # type: ignore[misc]
    is_false: dict[str, dict[float, list[bool]]] = {name: {} for name in spending}
    delays: dict[str, dict[int, list[int]]] = {name: {} for name in spending}
    for correlation in (0.0, 0.9, 0.99):
        rng = np.random.default_rng(1)
        for _ in range(runs):
            scores_RG = draw_candidates(rng, correlation)
            for name, levels in spending.items():
                is_false[name].setdefault(correlation, []).append(bool(simulate_rounds(scores_RG, levels)))
    rng = np.random.default_rng(2)
    for _ in range(max(10, runs // 5)):
        scores_RG = draw_candidates(rng, 0.9)
        for name, levels in spending.items():
            for start in (1, 10, 50):
                promotions = simulate_rounds(scores_RG, levels, gain=0.3, first_gain=start)
                if promotions and promotions[-1] >= start:
                    delays[name].setdefault(start, []).append(promotions[-1] - start)
    print("\n| level of candidate k | any false promotion in 200 rounds, correlation 0 | 0.9 | 0.99 |", end="")
    print(
        " rounds until a gain of 0.3 is promoted, from round 1 | 10 | 50 |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    results = {}
    for name in spending:
        means = [float(np.mean(values)) for values in delays[name].values()]
        results[name] = (max(float(np.mean(values)) for values in is_false[name].values()), means)
        cells = " | ".join(share(values) for values in is_false[name].values())
        print(f"| {name} | {cells} | {' | '.join(f'{mean:.1f}' for mean in means)} |", flush=True)
    return results


def simulate_canary(
    rng: np.random.Generator, canary_rate: float, serving_rate: float, canary_share: float, *, cluster: int = 1
) -> float:
    """Answers until the canary is called worse; infinity if it is not.

    Args:
        rng: random numbers.
        canary_rate, serving_rate: shares of failures.
        canary_share: share of the conversations that the canary answers.
        cluster: answers of a conversation, which all fail or all succeed. A server counts the first one.
    """
    test, counter = OddsRatioTest(), OutcomeCounter()
    counter.start(VersionRouting(1, _version(SERVING), _version(CANARY)))
    for start in range(0, MAX_ANSWERS, BATCH):
        is_canary_N = rng.random(BATCH // cluster) < canary_share
        has_failed_N = rng.random(len(is_canary_N)) < np.where(is_canary_N, canary_rate, serving_rate)
        for number, (is_canary, has_failed) in enumerate(zip(is_canary_N, has_failed_N, strict=True)):
            for _ in range(cluster):
                outcome = AnswerOutcome(bool(has_failed))
                counter.record(CANARY if is_canary else SERVING, outcome, f"conversation {start + number}")
        counts = counter.take()
        test = test.update(*(_failures(counts.get(number, VersionOutcomes())) for number in (CANARY, SERVING)))
        if test.rejects(ALPHA):
            return start + BATCH
    return np.inf


def _version(number: int) -> ModelVersion:
    return ModelVersion(number, 0.0, "serving", NewVersion("shop", "folder", "digest"))


def _failures(outcomes: VersionOutcomes) -> BinomialCount:
    return BinomialCount(outcomes.errors, outcomes.answers)


def measure_canary(runs: int) -> dict[tuple[float, float], FloatArray]:
    """Print the tables of the canary; return answers until an alarm by failure rate and share of the canary."""
    print("\n| equal failure rate | share of the canary | called worse | if 4 answers fail together |")
    print("| --- | --- | --- | --- |")
    rng = np.random.default_rng(3)
    for rate, canary_share in ((0.02, 0.1), (0.3, 0.1), (0.3, 0.5)):
        alarms, clustered = (
            [bool(np.isfinite(simulate_canary(rng, rate, rate, canary_share, cluster=size))) for _ in range(runs)]
            for size in (1, 4)
        )
        print(f"| {rate:.0%} | {canary_share:.0%} | {share(alarms)} | {share(clustered)} |", flush=True)
    print("\n| serving | canary | share | answers of a fixed-size test (power 80 %) | mean with looks | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    times = {}
    for serving_rate, canary_rate in ((0.02, 0.12), (0.05, 0.15), (0.3, 0.4)):
        for canary_share in (0.1, 0.5):
            answers = np.array([
                simulate_canary(rng, canary_rate, serving_rate, canary_share) for _ in range(max(20, runs // 4))
            ])  # fmt: skip
            variance = canary_rate * (1 - canary_rate) / canary_share
            variance += serving_rate * (1 - serving_rate) / (1 - canary_share)
            fixed = (stats.norm.isf(ALPHA) + stats.norm.isf(1 - POWER)) ** 2 * variance
            fixed /= (canary_rate - serving_rate) ** 2
            mean = float(np.minimum(answers, MAX_ANSWERS).mean())
            print(
                f"| {serving_rate:.0%} | {canary_rate:.0%} | {canary_share:.0%} | {fixed:.0f} | {mean:.0f} "
                f"| {mean / fixed:.2f} |",
                flush=True,
            )
            times[serving_rate, canary_share] = answers
    return times


def draw(rounds: dict[str, tuple[float, list[float]]], times: dict[tuple[float, float], FloatArray]) -> None:
    """Write the picture: false promotions and delays of the spendings, and power curves of the canary."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name, (false_share, delays) in rounds.items():
        left.plot(delays[1], 100 * false_share, "o", markersize=7)
        left.annotate(name, (delays[1], 100 * false_share), xytext=(7, 4), textcoords="offset points", fontsize=9)
    left.axhline(100 * ALPHA, color="gray", linestyle="--", linewidth=1)
    left.set(
        xlabel="rounds until a true gain is promoted (from round 10)",
        ylabel="false promotion in 200 rounds, %",
        title="Levels of the candidates",
        yscale="log",
    )
    left.margins(y=0.2)
    left.set_xlim(-0.5, 13)
    for (rate, canary_share), answers in times.items():
        seen_at = np.sort(answers)
        style = "-" if canary_share == 0.5 else "--"
        label = f"{rate:.0%} → {rate + 0.1:.0%}, canary {canary_share:.0%}"
        right.plot(seen_at, 100 * np.arange(1, len(seen_at) + 1) / len(seen_at), style, label=label)
    right.axhline(100 * POWER, color="gray", linestyle=":", linewidth=1)
    right.set(xlabel="answers of both versions", ylabel="canary called worse, %", title="Ten points more failures")
    right.set_xlim(0, 4000)
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Measure, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000, help="runs of every row (default: 1000)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs, without the picture")
    args = parser.parse_args()
    runs = args.runs // 10 if args.quick else args.runs
    measure_looks(runs)
    times = measure_canary(runs)
    rounds = measure_rounds(runs // 4 if args.quick else runs)
    if not args.quick:
        draw(rounds, times)
        print(f"\nThe picture is {PICTURE.relative_to(Path.cwd()) if PICTURE.is_relative_to(Path.cwd()) else PICTURE}.")


if __name__ == "__main__":
    main()
