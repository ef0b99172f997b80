"""Metrics, one module each. The module name is the metric's name in scorecards and in `--metrics`."""

from collections.abc import Sequence
from types import ModuleType

from turnwise.core.plugins import PluginGroup, find_subclass
from turnwise.evaluation.metric import Metric


def _build(name: str, module: ModuleType) -> Metric:
    cls = find_subclass(module, Metric)  # type: ignore[type-abstract]
    cls.NAME = name
    return cls()


METRICS: PluginGroup[Metric] = PluginGroup("metric", "metrics", (__name__, __path__), build=_build, parameter="metrics")


def metric_names() -> list[str]:
    """Names of all metrics, in the order of a scorecard."""
    return [metric.NAME for metric in load_metrics()]


def load_metrics(names: Sequence[str] | None = None) -> list[Metric]:
    """The metrics with these names, in the order of a scorecard. Default: all.

    Raises:
        InvalidParameter: there is no metric with this name.
    """
    metrics = [METRICS.load(name) for name in (METRICS.names() if names is None else names)]
    return sorted(metrics, key=lambda metric: metric.SORT_ORDER)
