"""Simulates the thresholds of the surge detector: prints the table of `turnwise/monitor/thresholds.py`.

    python benchmarks/monitor_thresholds.py                 3 million windows per cell, some minutes
    python benchmarks/monitor_thresholds.py --windows 600000

Counts without a surge are drawn at a constant, known rate: Poisson, negative binomial (dispersion 0.1 and 0.5) and,
for the negative share, binomial (share 0.25 and 0.5). A window's score is the largest log-likelihood ratio of the
intervals that end in it. The table holds, for every expected count, the score that starts an episode at a rate per
window, for the distribution with the largest one. Episodes are separated by one interval of the largest length.

Shapes: T windows, K independent streams.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from turnwise.monitor.dispersion import LENGTHS, MAX_LENGTH

EXPECTED = (0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
RATES = (1e-3, 1e-4, 1e-5)
WINDOWS_PER_STREAM = 20_000
MIN_FACTOR = 1.2  # only larger multiples are scored, which saves time; alerts need a larger one
Floats = NDArray[np.float64]
Llr = Callable[[Floats, int], Floats]


def streams(expected: float, num_streams: int, seed: int) -> Iterator[tuple[str, NDArray[np.int64], Llr]]:
    """Counts of shape `(T, K)` and the log-likelihood ratio of interval sums, for every distribution."""
    shape = WINDOWS_PER_STREAM, num_streams
    rng = np.random.default_rng(seed)

    def poisson_llr(sums: Floats, length: int) -> Floats:
        mean = expected * length
        return sums * np.log(sums / mean) - (sums - mean)

    yield "Poisson", rng.poisson(expected, shape), poisson_llr
    for dispersion in (0.1, 0.5):

        def negative_binomial_llr(sums: Floats, length: int, dispersion: float = dispersion) -> Floats:
            mean, phi = expected * length, dispersion / length
            return sums * np.log(sums / mean) - (sums + 1 / phi) * np.log((1 + phi * sums) / (1 + phi * mean))

        counts = rng.poisson(rng.gamma(1 / dispersion, dispersion * expected, shape))
        yield f"negative binomial, dispersion {dispersion}", counts, negative_binomial_llr
    for share in (0.25, 0.5):
        texts = max(1, round(expected / share))

        def binomial_llr(sums: Floats, length: int, texts: int = texts) -> Floats:
            total, mean = texts * length, expected * length
            others = total - sums
            logs = np.log(np.maximum(others, 1) / (total - mean))
            return sums * np.log(sums / mean) + others * logs

        if expected < texts:
            yield f"binomial, share {share}", rng.binomial(texts, expected / texts, shape), binomial_llr


def scores(counts_TK: NDArray[np.int64], expected: float, llr: Llr) -> Floats:
    """Largest log-likelihood ratio of the intervals that end in a window, of shape `(T, K)`."""
    sums_TK = np.concatenate([np.zeros((1, counts_TK.shape[1]), dtype=np.int64), counts_TK.cumsum(axis=0)])
    best_TK = np.zeros(counts_TK.shape)
    for length in LENGTHS:
        interval_TK = (sums_TK[length:] - sums_TK[:-length]).astype(np.float64)
        is_high_TK = interval_TK > MIN_FACTOR * expected * length
        target_TK = best_TK[length - 1 :]
        target_TK[is_high_TK] = np.maximum(target_TK[is_high_TK], llr(interval_TK[is_high_TK], length))
    return best_TK


def episode_rate(scores_TK: Floats, threshold: float) -> float:
    """Episodes above the threshold per window."""
    windows, streams_of_windows = np.nonzero(scores_TK >= threshold)
    order = np.lexsort((windows, streams_of_windows))
    starts = np.diff(windows[order]) > MAX_LENGTH
    starts |= np.diff(streams_of_windows[order]) > 0
    return (int(starts.sum()) + bool(len(windows))) / scores_TK.size


def threshold_for(scores_TK: Floats, rate: float) -> float:
    """Smallest threshold, in steps of 0.05, with at most this rate of episodes."""
    low, high = 3.0, 25.0
    while high - low > 0.05:
        middle = (low + high) / 2
        low, high = (middle, high) if episode_rate(scores_TK, middle) > rate else (low, middle)
    return high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=3_000_000, help="simulated windows per cell")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    num_streams = max(1, arguments.windows // WINDOWS_PER_STREAM)
    print("RATES =", RATES)
    for expected in EXPECTED:
        rows = []
        for name, counts_TK, llr in streams(expected, num_streams, arguments.seed):
            scores_TK = scores(counts_TK, expected, llr)
            rows.append([threshold_for(scores_TK, rate) for rate in RATES])
            print(f"# {expected:6} {name}: {', '.join(f'{value:.2f}' for value in rows[-1])}", flush=True)
        print(f"    ({expected}, ({', '.join(f'{value:.1f}' for value in np.max(rows, axis=0))})),", flush=True)


if __name__ == "__main__":
    main()
