"""Numbers as text for reports."""

import math
import re

from turnwise.evaluation.statistics import ConfidenceInterval

MISSING_VALUE = "–"


def format_value(value: float | None, value_format: str) -> str:
    """Format a value, for example with ".3f" or ".1%"; "–" if it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return MISSING_VALUE
    return _with_minus_sign(f"{value:{value_format}}")


def format_difference(value: float | None, value_format: str) -> str:
    """Format a difference with its sign; of shares in percentage points, since "+2 %" could be read as a factor."""
    if value is None or not math.isfinite(value):
        return MISSING_VALUE
    if value_format.endswith("%"):
        return f"{_signed(100 * value, f'{value_format[:-1]}f')} pp"
    return _signed(value, value_format)


def format_interval(interval: ConfidenceInterval | None, value_format: str) -> str:
    """Format an interval as "[low, high]"; empty if it is missing or not finite."""
    if interval is None or not _is_finite(interval):
        return ""
    return f"[{format_value(interval.low, value_format)}, {format_value(interval.high, value_format)}]"


def format_difference_interval(interval: ConfidenceInterval | None, value_format: str) -> str:
    """Format the interval of a difference as "[low, high]"; empty if it is missing or not finite."""
    if interval is None or not _is_finite(interval):
        return ""
    low = format_difference(interval.low, value_format).removesuffix(" pp")
    return f"[{low}, {format_difference(interval.high, value_format)}]"


def format_p_value(p_value: float | None) -> str:
    """Format a p-value; below 0.001 resampling has no precision."""
    if p_value is None or math.isnan(p_value):
        return MISSING_VALUE
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _is_finite(interval: ConfidenceInterval) -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def _signed(value: float, value_format: str) -> str:
    """Format with a sign, except a value that rounds to zero."""
    text = f"{value:+{value_format}}"
    return _with_minus_sign(text) if re.search("[1-9]", text) else text[1:]


def _with_minus_sign(text: str) -> str:
    return text.replace("-", "−")
