"""Figures as people read them."""

import math
import re

from turnwise.evaluation.statistics import ConfidenceInterval

NOTHING = "–"


def shown(value: float | None, form: str) -> str:
    """A value by its metric's format."""
    return NOTHING if value is None or not math.isfinite(value) else _minus(f"{value:{form}}")


def change(value: float | None, form: str) -> str:
    """A difference with its sign; of shares in percentage points, as "+2 %" might be taken for a factor."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return _signed(100 * value, f"{form[:-1]}f") + " pp" if form.endswith("%") else _signed(value, form)


def span(interval: ConfidenceInterval | None, form: str) -> str:
    """An interval in brackets; nothing where there is none."""
    return "" if interval is None or _open(interval) else f"[{shown(interval.low, form)}, {shown(interval.high, form)}]"


def span_of_change(interval: ConfidenceInterval | None, form: str) -> str:
    """The same of a difference."""
    if interval is None or _open(interval):
        return ""
    return f"[{change(interval.low, form).removesuffix(' pp')}, {change(interval.high, form)}]"


def format_p(p: float | None) -> str:
    """A probability; resampling cannot tell the small ones apart."""
    if p is None or math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def pluralize(number: int, one: str, many: str = "") -> str:
    """A number of things: "1 seed", "3 seeds"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _open(interval: ConfidenceInterval) -> bool:
    return not (math.isfinite(interval.low) and math.isfinite(interval.high))


def _signed(value: float, form: str) -> str:
    """With a sign, unless it is written as nothing."""
    found = f"{value:+{form}}"
    return _minus(found) if re.search("[1-9]", found) else found[1:]


def _minus(text: str) -> str:
    return text.replace("-", "−")
