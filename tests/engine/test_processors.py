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


def processed(params, prompt, output_ids, row, stop=()):
    """A row of logits after the processors of `params`, with `output_ids` generated before."""
    states = start_processors(request(prompt or [0], params=GenerationParams(**params), stop=stop)).values()
    logits_V = torch.tensor(row)
    for token_id in output_ids:
        for state in states:
            state.apply(logits_V.clone())
            state.accept(token_id)
    for state in states:
        state.apply(logits_V)
    return logits_V.tolist()


def test_every_processor_is_tested_and_has_a_unique_order():
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == ON.keys()
    assert len({processor.ORDER for processor in load_processors().values()}) == len(files)


def test_neutral_values_start_no_processor():
    assert start_processors(request([1, 2], stop=[3])) == {}


@pytest.mark.parametrize("name", ON)
def test_an_active_value_starts_one_processor_and_the_declared_neutral_value_none(name):
    assert len(start_processors(request([1, 2], params=GenerationParams(**{name: ON[name]}), stop=[3]))) == 1
    neutral_params = GenerationParams(**{name: PARAMETER_SPECS[name].neutral})
    assert start_processors(request([1, 2], params=neutral_params, stop=[3])) == {}


@given(output_ids=ids, row=logits, alpha=st.floats(-2, 2))
def test_frequency_penalty_subtracts_alpha_per_occurrence(output_ids, row, alpha):
    counts = Counter(output_ids)
    expected = [z - alpha * counts[i] for i, z in enumerate(row)]
    assert processed({"frequency_penalty": alpha}, [1, 1], output_ids, row) == pytest.approx(expected, abs=1e-4)


@given(output_ids=ids, row=logits, alpha=st.floats(-2, 2))
def test_presence_penalty_subtracts_alpha_once(output_ids, row, alpha):
    expected = [z - alpha * (i in output_ids) for i, z in enumerate(row)]
    assert processed({"presence_penalty": alpha}, [1, 1], output_ids, row) == pytest.approx(expected, abs=1e-4)


@given(output_ids=ids, row=logits, bias=st.dictionaries(token, st.floats(-100, 100), max_size=5))
def test_logit_bias_is_added_independently_of_the_output(output_ids, row, bias):
    expected = [z + bias.get(i, 0) for i, z in enumerate(row)]
    assert processed({"logit_bias": bias}, [1], output_ids, row) == pytest.approx(expected, abs=1e-4)


@settings(deadline=None)
@given(prompt=ids, output_ids=ids, row=logits, penalty=st.floats(0.1, 5))
def test_repetition_penalty_equals_that_of_transformers(prompt, output_ids, row, penalty):
    from transformers import RepetitionPenaltyLogitsProcessor

    seen = torch.tensor([[*(prompt or [0]), *output_ids]])
    expected = RepetitionPenaltyLogitsProcessor(penalty)(seen, torch.tensor([row]))[0].tolist()
    assert processed({"repetition_penalty": penalty}, prompt, output_ids, row) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None)
@given(prompt=ids, output_ids=ids, row=logits, size=st.integers(1, 5))
def test_no_repeat_ngram_size_equals_that_of_transformers(prompt, output_ids, row, size):
    from transformers import NoRepeatNGramLogitsProcessor

    seen = torch.tensor([[*(prompt or [0]), *output_ids]])
    expected = NoRepeatNGramLogitsProcessor(size)(seen, torch.tensor([row]))[0].tolist()
    assert processed({"no_repeat_ngram_size": size}, prompt, output_ids, row) == expected


@given(output_ids=ids, row=logits, min_tokens=st.integers(1, 40), stop=st.sets(token, min_size=1))
def test_min_tokens_masks_stop_ids_until_the_minimum(output_ids, row, min_tokens, stop):
    actual = processed({"min_tokens": min_tokens}, [1], output_ids, row, stop)
    masked = stop if len(output_ids) < min_tokens else set()
    assert actual == [-torch.inf if i in masked else z for i, z in enumerate(row)]
