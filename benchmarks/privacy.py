"""Recall and precision of the detection of personal data by kind and language, with Wilson intervals, and its speed.

    python benchmarks/privacy.py
    python benchmarks/privacy.py --half held_out --list
    python benchmarks/privacy.py --speed

The messages in `personal_data/` have gold spans, `{kind|value}`. Errors of every other message (the half `development`)
were looked at while the detectors were written; those of the half `held_out` were not, so its figures count.

Recall: share of the gold spans whose letters and digits are all masked, whatever the kind, because that protects.
Precision: share of the detected spans that overlap a gold span. `exact` counts start, end and kind.
"""

import argparse
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from turnwise.core.personal_data import PersonalDataDetector, PersonalSpan
from turnwise.evaluation.statistics import wilson_interval
from turnwise.privacy.detection import CombinedDetector, resolve_overlaps
from turnwise.privacy.detectors import load_detectors
from turnwise.privacy.name_tagger import load_bundled_tagger, read_tagger

FOLDER = Path(__file__).with_name("personal_data")
LANGUAGES = ("en", "zh")
TAGGED = ("name", "address")
_SPAN = re.compile(r"\{(\w+)\|([^}]*)\}")
TURN = " || "


class Message(NamedTuple):
    """A test message with its gold spans."""

    text: str
    spans: list[PersonalSpan]


def read_messages(language: str, half: str) -> list[Message]:
    """Messages of a language: all, or every other one."""
    lines = (FOLDER / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    start, step = {"all": (0, 1), "development": (0, 2), "held_out": (1, 2)}[half]
    return [message for line in lines[start::step] for message in parse_line(line)]


def parse_line(line: str) -> Iterator[Message]:
    """The turns of a line with markup."""
    for turn in line.replace("\\n", "\n").split(TURN):
        text, spans, position = "", [], 0
        for match in _SPAN.finditer(turn):
            text += turn[position : match.start()]
            spans.append(PersonalSpan(len(text), len(text) + len(match[2]), match[1]))  # type: ignore[arg-type]
            text += match[2]
            position = match.end()
        yield Message(text + turn[position:], spans)


def is_covered(text: str, gold: PersonalSpan, detected: list[PersonalSpan]) -> bool:
    """True if every letter and digit of a gold span is in a detected span."""
    masked = {index for span in detected for index in range(span.start, span.end)}
    return all(index in masked for index in range(gold.start, gold.end) if text[index].isalnum())


def measure(detector: PersonalDataDetector, language: str, half: str, *, lists_errors: bool) -> None:
    """Print the table of a language."""
    recalled, exact, precise = defaultdict(list), Counter(), defaultdict(list)
    for text, spans in read_messages(language, half):
        detected = list(detector.detect(text))
        for gold in spans:
            recalled[gold.kind].append(is_covered(text, gold, detected))
            exact[gold.kind] += gold in detected
        for span in detected:
            precise[span.kind].append(any(gold.start < span.end and span.start < gold.end for gold in spans))
        if lists_errors:
            missed = [(text[g.start : g.end], g.kind) for g in spans if not is_covered(text, g, detected)]
            wrong = [
                (text[s.start : s.end], s.kind)
                for s in detected
                if not any(g.start < s.end and s.start < g.end for g in spans)
            ]
            if missed or wrong:
                print(f"  {text!r}: missed {missed}, false {wrong}")
    groups = {kind: (kind,) for kind in sorted({*recalled, *precise})}
    groups["structured kinds"] = tuple(kind for kind in groups if kind not in TAGGED)
    groups["names and addresses"] = TAGGED
    print(f"\n{language} ({half})\n{'kind':22}{'gold':>5}  {'recall':24}{'exact':>7}  {'detected':>8}  precision")
    for label, kinds in groups.items():
        hits = [hit for kind in kinds for hit in recalled[kind]]
        right = [hit for kind in kinds for hit in precise[kind]]
        share = f"{sum(exact[kind] for kind in kinds) / len(hits):7.2f}" if hits else " " * 7
        print(f"{label:22}{len(hits):5}  {with_interval(hits):24}{share}  {len(right):8}  {with_interval(right)}")


def with_interval(flags: list[bool]) -> str:
    """A share with its interval; empty for none."""
    if not flags:
        return ""
    interval = wilson_interval(np.array(flags, dtype=np.float64))
    return f"{sum(flags) / len(flags):.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def measure_speed() -> None:
    """Print messages per second and core of the rules and of the tagger."""
    texts = [text for language in LANGUAGES for text, _ in read_messages(language, "all")]
    rules = load_detectors()

    def by_rules(text: str) -> object:
        return resolve_overlaps(text, [span for detector in rules for span in detector.detect(text)])

    tagger, combined = load_bundled_tagger(), CombinedDetector()
    for label, detect in (
        ("rules", by_rules),
        ("tagger", lambda text: list(tagger.detect(text))),
        ("both", combined.detect),
    ):
        rates, length = [], np.mean([len(text) for text in texts])
        for _ in range(5):
            start = time.process_time()
            for text in texts:
                detect(text)
            rates.append(len(texts) / (time.process_time() - start))
        print(f"{label}: {max(rates):,.0f} messages/s of CPU time, {length:.0f} characters each")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--half", choices=("all", "development", "held_out"), default="held_out")
    parser.add_argument("--list", action="store_true", help="print the messages with errors")
    parser.add_argument("--speed", action="store_true", help="measure the speed instead")
    parser.add_argument("--tagger", type=Path, help="folder of another tagger than the bundled one")
    options = parser.parse_args()
    if options.speed:
        measure_speed()
        return
    tagger = load_bundled_tagger() if options.tagger is None else read_tagger(options.tagger)
    detector = CombinedDetector([*load_detectors(), tagger])
    for language in LANGUAGES:
        measure(detector, language, options.half, lists_errors=options.list)


if __name__ == "__main__":
    main()
