"""Thresholds of the log-likelihood ratio for a promised rate of false alarms, from simulation.

`python benchmarks/monitor_thresholds.py` computes the table. The scores have about the same distribution for all rates
and dispersions, which is why the ratio is taken and not, say, the number of standard deviations.
"""

from bisect import bisect_right
from math import log

RATES = (1e-3, 1e-4, 1e-5)  # episodes of false alarms per window
# Expected count per window, and the threshold for each of RATES.
TABLE = (
    (0.02, (5.1, 7.9, 11.8)),
    (0.1, (6.1, 8.9, 10.2)),
    (0.3, (5.5, 7.8, 10.2)),
    (1.0, (5.7, 8.3, 11.1)),
    (3.0, (6.0, 8.6, 10.5)),
    (10.0, (5.8, 8.4, 10.6)),
    (30.0, (5.8, 8.2, 10.6)),
    (100.0, (5.6, 8.0, 10.3)),
)
_LOG_EXPECTED = [log(expected) for expected, _ in TABLE]
_LOG_RATES = [log(rate) for rate in RATES]


def llr_threshold(alarms_per_window: float, expected: float) -> float:
    """Return the score that streams without a surge pass at this rate.

    Args:
        alarms_per_window: episodes of false alarms per window, above 0. Beyond the table, the threshold is linear in
            the logarithm of the rate, as the tail of a log-likelihood ratio is exponential.
        expected: expected count per window; beyond the table, its first or last row holds.
    """
    position = log(max(expected, 1e-9))
    right = bisect_right(_LOG_EXPECTED, position)
    if right in (0, len(TABLE)):
        row = TABLE[0 if right == 0 else -1][1]
        return _interpolate_rate(row, alarms_per_window)
    left_value, right_value = (_interpolate_rate(TABLE[index][1], alarms_per_window) for index in (right - 1, right))
    share = (position - _LOG_EXPECTED[right - 1]) / (_LOG_EXPECTED[right] - _LOG_EXPECTED[right - 1])
    return left_value + share * (right_value - left_value)


def _interpolate_rate(thresholds: tuple[float, ...], rate: float) -> float:
    left = 0 if rate >= RATES[1] else 1
    slope = (thresholds[left + 1] - thresholds[left]) / (_LOG_RATES[left + 1] - _LOG_RATES[left])
    return thresholds[left] + slope * (log(rate) - _LOG_RATES[left])
