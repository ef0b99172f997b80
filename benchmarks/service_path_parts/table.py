"""Shares of verdicts as tables. Shapes: G dialogues."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median

import numpy as np

from service_path_parts.playing import PlayedDialogue
from turnwise.evaluation.metric import FloatArray
from turnwise.evaluation.statistics import (
    MIN_DIALOGUES,
    bootstrap_difference,
    newcombe_interval,
    wilson_interval,
)

_Test = Callable[[PlayedDialogue], bool]
SHARES: Mapping[str, _Test] = {
    "resolved": lambda played: played.verdict == "resolved",
    "wrong": lambda played: played.verdict == "wrong",
    "not resolved": lambda played: played.verdict == "unresolved",
    "handed off": lambda played: played.is_handed_off,
}


def print_tables(results: Mapping[str, Sequence[PlayedDialogue]]) -> None:
    """Print a table of shares with Wilson intervals for every group, and the differences to the path."""
    for title, select in _groups(next(iter(results.values()))):
        print(f"\n{title}\n\n| system | dialogues | {' | '.join(SHARES)} | seconds |")
        print("| --- " * (len(SHARES) + 3) + "|")
        for name, played in results.items():
            group = [entry for entry in played if select(entry)]
            cells = [_share([test(entry) for entry in group]) for test in SHARES.values()]
            seconds = median(turn.reply.seconds for entry in group for turn in entry.turns)
            print(f"| {name} | {len(group)} | {' | '.join(cells)} | {seconds:.3f} |")
    if "path" in results:
        for name, played in results.items():
            if name != "path":
                _print_differences(results["path"], played, name)


def _groups(played: Sequence[PlayedDialogue]) -> Iterator[tuple[str, _Test]]:
    """Titles of groups of dialogues, and whether a dialogue is in the group."""
    yield "All", lambda _: True
    languages = dict.fromkeys((entry.dialogue.language,) for entry in played)
    kinds = dict.fromkeys((entry.dialogue.language, entry.dialogue.kind, entry.dialogue.wording) for entry in played)
    for group in (*languages, *kinds):
        yield " ".join(word for word in group if word), partial(_is_in, group)


def _is_in(group: tuple[str | None, ...], played: PlayedDialogue) -> bool:
    dialogue = played.dialogue
    return (dialogue.language, dialogue.kind, dialogue.wording)[: len(group)] == group


def _share(is_true: Sequence[bool]) -> str:
    is_true_G = np.array(is_true, np.float64)
    interval = wilson_interval(is_true_G)
    return f"{is_true_G.mean():.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _print_differences(path: Sequence[PlayedDialogue], system: Sequence[PlayedDialogue], name: str) -> None:
    """Print path − system with the intervals of the paired bootstrap and of Newcombe."""
    for label in ("resolved", "wrong"):
        new_G, old_G = (np.array([SHARES[label](entry) for entry in played], np.float64) for played in (path, system))
        line = f"path − {name}, {label}: {new_G.mean() - old_G.mean():+.1%}"
        if len(new_G) >= MIN_DIALOGUES:
            interval = bootstrap_difference(_sums(new_G), _sums(old_G), _mean).interval()
            newcombe = newcombe_interval(new_G, old_G)  # better if few dialogues differ
            line += (
                f" [{interval.low:+.1%}, {interval.high:+.1%}], Newcombe [{newcombe.low:+.1%}, {newcombe.high:+.1%}]"
            )
        print(f"\n{line}")


def _sums(values_G: FloatArray) -> FloatArray:
    return np.stack([values_G, np.ones_like(values_G)], axis=1)


def _mean(sums_X2: FloatArray) -> FloatArray:
    means_X: FloatArray = sums_X2[..., 0] / sums_X2[..., 1]
    return means_X
