"""Canaries: unique, well-formed, detected by the masker, and their exposure."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.messages import Conversation, Message
from turnwise.privacy.canaries import CANARY_KINDS, exposure, make_alternatives, make_canaries, plant
from turnwise.privacy.detection import CombinedDetector
from turnwise.privacy.detectors import load_detectors
from turnwise.privacy.detectors.card import is_card_number

CANARIES = make_canaries(100)


def test_canaries_are_unique_and_of_all_kinds():
    assert len({canary.secret for canary in CANARIES}) == len({canary.name for canary in CANARIES}) == 100
    assert {canary.kind for canary in CANARIES} == set(CANARY_KINDS)


def test_the_same_seed_gives_the_same_canaries():
    assert make_canaries(5, seed=3) == make_canaries(5, seed=3) != make_canaries(5, seed=4)


def test_the_secrets_are_well_formed_and_of_nobody():
    for canary in CANARIES:
        if canary.kind == "card":
            assert is_card_number(canary.secret)
        else:
            assert re.fullmatch(r"[a-z.]+@example\.com|\+1 \d{3} 555 01\d\d", canary.secret)


@pytest.mark.parametrize("canary", CANARIES[:9], ids=lambda canary: canary.kind)
def test_the_rules_detect_every_secret(canary):
    text = canary.conversation.messages[1].content
    spans = CombinedDetector(load_detectors()).detect(text)
    assert canary.secret in {text[span.start : span.end] for span in spans}


def test_every_canary_is_planted_as_often_as_asked():
    ordinary = [Conversation((Message("user", "hello"),))] * 10
    mixed = list(plant(ordinary, CANARIES, repeats=3))
    assert len(mixed) == 310
    assert mixed.count(CANARIES[0].conversation) == 3


def test_alternatives_are_different_and_not_the_secret():
    alternatives = make_alternatives(CANARIES[0], 50)
    assert len(set(alternatives)) == 50
    assert CANARIES[0].secret not in alternatives


@given(st.floats(-50, 0), st.lists(st.floats(-50, 0), max_size=40))
def test_exposure_is_highest_for_the_likeliest_secret(logprob, alternatives):
    bits = exposure(logprob, alternatives)
    assert -1e-9 <= bits <= math.log2(len(alternatives) + 1)
    assert exposure(1.0, alternatives) == math.log2(len(alternatives) + 1)


def test_exposure_counts_the_rank():
    assert exposure(-2.0, [-1.0, -3.0, -4.0]) == 1.0  # second of four
