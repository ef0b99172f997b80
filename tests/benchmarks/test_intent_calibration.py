"""The benchmark of calibration: examples and predicted messages are different ones."""

import random

import numpy as np

import intent_calibration


def test_examples_are_left_out_of_the_messages_and_messages_without_an_intent_are_no_examples():
    rows = [(f"{label} {number}", label) for label in ("a", "b", "none") for number in range(10)]
    examples, rest = intent_calibration.split(rows, 3, "none", random.Random(0))
    assert [label for _, label in examples] == ["a"] * 3 + ["b"] * 3
    assert sorted(examples + rest) == sorted(rows)


def test_every_bin_that_has_messages_is_printed(capsys):
    intent_calibration.print_bins(np.array([0.05, 0.95, 1.0]), np.array([False, True, True]))
    assert capsys.readouterr().out.splitlines()[2:] == ["| --- | --- | --- | --- |",
        "| 0.0 to 0.1 | 1 | 0.05 | 0.00 |", "| 0.9 to 1.0 | 2 | 0.97 | 1.00 |"]  # fmt: skip
