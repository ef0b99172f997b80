"""Table and picture of the speed of a knowledge base (`knowledge.py`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PICTURE = Path(__file__).parents[1] / "docs/pictures/retrieval_scale.png"
GOAL_MS = 50
SEARCHES = (("words (BM25)", "lexical"), ("meaning (bits + int8)", "dense"), ("both, with texts", "hybrid"))
HNSW = ("usearch HNSW", "usearch")
Results = Mapping[int, Mapping[str, Any]]


def print_table(results: Results) -> None:
    """Print a row for each size and index."""
    print(
        "| passages | index | build (s) | p50 (ms) | p95 (ms) | processor p50, p95 (ms) | recall@10 | on disk (MB) |"
        " private, resident (MB) | load |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for size, steps in sorted(results.items()):
        lexical, dense = steps.get("build_lexical", {}), steps.get("build_dense", {})
        rows = [
            ("store", lexical.get("store_seconds"), {}, lexical.get("store_bytes")),
            ("words", lexical.get("lexical_seconds"), steps.get("lexical", {}), lexical.get("lexical_bytes")),
            ("words, common ones", None, _common(steps.get("lexical", {})), None),
            ("meaning", dense.get("dense_seconds"), steps.get("dense", {}), dense.get("dense_bytes")),
            ("both", None, steps.get("hybrid", {}), None),
            ("usearch HNSW", steps.get("usearch", {}).get("dense_seconds"), steps.get("usearch", {}), None),
        ]
        for name, seconds, searched, size_bytes in rows:
            if seconds is not None or searched:
                print(_row(size, name, seconds, searched, size_bytes))
        for name, figures in steps.get("filters", {}).items():
            if name != "load":
                wall, cpu = (f"first {figures['first'][i]:.1f}, later {figures['later'][i]:.1f}" for i in (0, 1))
                label = f"meaning, {name}: {figures['documents']:,} documents"
                print(f"| {size:,} | {label} | | {wall} | | {cpu} | | | | {steps['filters']['load']:g} |")


def _common(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"times": figures["common"], "load": figures["load"]} if figures else {}


def _row(size: int, name: str, seconds: list[float] | None, figures: Mapping[str, Any], size_bytes: int | None) -> str:
    times = figures.get("times")
    wall, cpu = ([f"{value:.1f}" for value in times[kind]] if times else ["", ""] for kind in ("wall", "cpu"))
    cells = [
        f"{size:,}", name, "" if seconds is None else f"{seconds[0]:,.1f} ({seconds[1]:,.1f} processor)", *wall,
        ", ".join(cpu) if times else "", f"{figures['recall']:.3f}" if "recall" in figures else "",
        "" if size_bytes is None else f"{size_bytes / 1e6:,.0f}",
        ", ".join(f"{figures[key] / 1e6:,.0f}" for key in ("private_bytes", "resident_bytes") if key in figures),
        f"{figures['load']:g}" if "load" in figures else "",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def draw(results: Results) -> None:
    """Draw the 95th percentiles and the recall over the sizes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (latencies, recalls) = pyplot.subplots(1, 2, figsize=(9.6, 3.8))
    sizes = sorted(results)
    for name, step in (*SEARCHES, HNSW):
        with_times = [size for size in sizes if step in results[size]]
        if not with_times:
            continue
        wall, cpu = ([results[size][step]["times"][kind][1] for size in with_times] for kind in ("wall", "cpu"))
        (line,) = latencies.plot(with_times, wall, marker="o", label=name)
        latencies.plot(with_times, cpu, ":", color=line.get_color())
        if "recall" in results[with_times[0]][step]:
            values = [results[size][step]["recall"] for size in with_times]
            recalls.plot(with_times, values, marker="o", label=name, color=line.get_color())
    latencies.axhline(GOAL_MS, color="grey", linestyle="--", label="goal")
    latencies.set(xscale="log", yscale="log", xlabel="passages", ylabel="95th percentile (ms); dotted: processor time")
    recalls.axhline(0.97, color="grey", linestyle="--", label="goal")
    recalls.set(xscale="log", xlabel="passages", ylabel="recall@10", ylim=(min(0.9, recalls.get_ylim()[0]), 1.0))
    for axes in (latencies, recalls):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=120)
