"""Figures of complete runs, as their commands have written them."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from turnwise.app.runs.run_folder import RunFolder

RESULT, SCORECARD = "result.json", "scorecard.json"
LOSSES = ("valid_before", "valid_after", "test_before", "test_after")
FIGURES = ("steps", "best_step", "stopped_early", "seconds", "useful_tokens")
MAX_SAMPLE_CHARS = 2000


def read_result(folder: RunFolder) -> tuple[Mapping[str, Any], Sequence[Mapping[str, str]]]:
    """Losses, the verdict of the comparison with its reasons, and replies before and after a training."""
    result, scorecard = folder.model / RESULT, folder.report.with_name(SCORECARD)
    return _read(result, _changed(result), scorecard, _changed(scorecard))


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=256)
def _read(
    result: Path, result_time: int, scorecard: Path, scorecard_time: int
) -> tuple[Mapping[str, Any], Sequence[Mapping[str, str]]]:
    del result_time, scorecard_time  # another time is another file
    training, comparison = _object(result), _object(scorecard)
    losses = training.get("loss", {})
    figures = {name: losses[name] for name in LOSSES if name in losses}
    figures |= {name: training[name] for name in FIGURES if name in training}
    figures |= {name: comparison[name] for name in ("verdict", "reasons") if comparison.get(name)}
    samples = [
        {name: str(sample.get(name, ""))[:MAX_SAMPLE_CHARS] for name in ("question", "reply", "before", "after")}
        for sample in training.get("samples", [])
    ]
    return figures, samples


def _object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
