"""The contract of a processor, for every file in engine/sampling/processors/, and its exact effect on the logits."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import request

from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams
from turnwise.engine.sampling import processors as folder
from turnwise.engine.sampling.processors import load_processors, start_processors

pytestmark = pytest.mark.usefixtures("one_thread")

VOCAB = 9
ON = {
    "repetition_penalty": 1.3,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.75,
    "logit_bias": {3: 2.5, 0: -100},
    "no_repeat_ngram_size": 2,
    "min_tokens": 4,
}
token = st.integers(0, VOCAB - 1)
ids = st.lists(token, max_size=30)
logits = st.lists(st.floats(-20, 20, width=32), min_size=VOCAB, max_size=VOCAB)


def shaped(params, prompt, said, row, stop=()):
    """The row after the processors that `params` switch on, once `said` was said."""
    states = start_processors(request(prompt or [0], params=GenerationParams(**params), stop=stop))
    logits_V = torch.tensor(row)
    for one in said:
        for state in states:
            state.apply(logits_V.clone())
            state.accept(one)
    for state in states:
        state.apply(logits_V)
    return logits_V.tolist()


def test_every_processor_is_tried_here_and_has_its_own_place():
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == ON.keys()
    assert len({processor.ORDER for processor in load_processors()}) == len(files)


def test_off_values_start_nothing():
    assert start_processors(request([1, 2], stop=[3])) == []


@pytest.mark.parametrize("name", ON)
def test_on_starts_one_and_off_is_what_the_declaration_says(name):
    assert len(start_processors(request([1, 2], params=GenerationParams(**{name: ON[name]}), stop=[3]))) == 1
    neutral_params = GenerationParams(**{name: PARAMETER_SPECS[name].neutral})
    assert start_processors(request([1, 2], params=neutral_params, stop=[3])) == []


@given(said=ids, row=logits, alpha=st.floats(-2, 2))
def test_frequency_penalty_takes_alpha_off_for_every_time(said, row, alpha):
    counts = Counter(said)
    expected = [z - alpha * counts[i] for i, z in enumerate(row)]
    assert shaped({"frequency_penalty": alpha}, [1, 1], said, row) == pytest.approx(expected, abs=1e-4)


@given(said=ids, row=logits, alpha=st.floats(-2, 2))
def test_presence_penalty_takes_alpha_off_once(said, row, alpha):
    expected = [z - alpha * (i in said) for i, z in enumerate(row)]
    assert shaped({"presence_penalty": alpha}, [1, 1], said, row) == pytest.approx(expected, abs=1e-4)


@given(said=ids, row=logits, bias=st.dictionaries(token, st.floats(-100, 100), max_size=5))
def test_logit_bias_adds_what_is_asked_whatever_was_said(said, row, bias):
    expected = [z + bias.get(i, 0) for i, z in enumerate(row)]
    assert shaped({"logit_bias": bias}, [1], said, row) == pytest.approx(expected, abs=1e-4)


@settings(deadline=None)
@given(prompt=ids, said=ids, row=logits, penalty=st.floats(0.1, 5))
def test_repetition_penalty_is_transformers(prompt, said, row, penalty):
    from transformers import RepetitionPenaltyLogitsProcessor

    seen = torch.tensor([[*(prompt or [0]), *said]])
    expected = RepetitionPenaltyLogitsProcessor(penalty)(seen, torch.tensor([row]))[0].tolist()
    assert shaped({"repetition_penalty": penalty}, prompt, said, row) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None)
@given(prompt=ids, said=ids, row=logits, size=st.integers(1, 5))
def test_no_repeated_ngrams_is_transformers(prompt, said, row, size):
    from transformers import NoRepeatNGramLogitsProcessor

    seen = torch.tensor([[*(prompt or [0]), *said]])
    expected = NoRepeatNGramLogitsProcessor(size)(seen, torch.tensor([row]))[0].tolist()
    assert shaped({"no_repeat_ngram_size": size}, prompt, said, row) == expected


@given(said=ids, row=logits, least=st.integers(1, 40), stop=st.sets(token, min_size=1))
def test_min_tokens_masks_the_end_until_then(said, row, least, stop):
    found = shaped({"min_tokens": least}, [1], said, row, stop)
    masked = stop if len(said) < least else set()
    assert found == [-torch.inf if i in masked else z for i, z in enumerate(row)]
