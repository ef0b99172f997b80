"""One file per metric; the folder is the registry and the file's name is the metric's."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.evaluation.metric import Metric


def metric_names() -> list[str]:
    """What there is, in the order of a scorecard."""
    return [each.NAME for each in metrics()]


def metrics(chosen: Sequence[str] | None = None) -> list[Metric]:
    """Those of these names, or all, in the order of a scorecard.

    Raises:
        InvalidParameter: there is none of that name.
    """
    known = {found.name: found.name for found in iter_modules(__path__)}
    for name in chosen or ():
        if name not in known:
            raise InvalidParameter("metrics", f"There is no metric '{name}': {did_you_mean(name, sorted(known))}")
    return sorted((_metric(name) for name in (known if chosen is None else chosen)), key=lambda each: each.SORT_ORDER)


def _metric(name: str) -> Metric:
    kind: type[Metric] = import_module(f"{__name__}.{name}").Metric
    kind.NAME = name
    return kind()
