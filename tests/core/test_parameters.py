"""Generation parameters are declared once, checked everywhere, and say what is wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.core.parameter_spec import MAX_STRING
from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams


def test_built_in_values_are_in_bounds():
    assert GenerationParams() == GenerationParams(**{name: spec.default for name, spec in PARAMETER_SPECS.items()})


@pytest.mark.parametrize("name", PARAMETER_SPECS)
def test_every_parameter_has_help_that_ends_like_a_sentence(name):
    assert PARAMETER_SPECS[name].description.endswith(".")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("temperature", -0.1, "between 0 and 2"),
        ("temperature", 2.1, "between 0 and 2"),
        ("temperature", math.nan, "between 0 and 2"),
        ("temperature", 10**400, "between 0 and 2"),
        ("temperature", "hot", "must be a number"),
        ("temperature", True, "must be a number"),
        ("top_p", -0.1, "between 0 and 1"),
        ("typical_p", 0, "greater than 0 and at most 1"),
        ("top_k", 1.5, "whole number"),
        ("top_k", math.inf, "whole number"),
        ("max_tokens", 0, "at least 1"),
        ("seed", 2**63, "between -9223372036854775808 and 9223372036854775807"),
        ("stop", ["a", "b", "c", "d", "e"], "at most 4"),
        ("stop", [""], "not empty"),
        ("stop", [3], "strings"),
        ("stop", ["a" * (MAX_STRING + 1)], "up to 4,096 characters"),
        ("bad_words", ["a", "a" * (MAX_STRING + 1)], "up to 4,096 characters"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_the_bound(name, value, says):
    with pytest.raises(InvalidParameter, match=says) as error:
        GenerationParams(**{name: value})
    assert error.value.param == name
    assert len(str(error.value)) < 200


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(InvalidParameter, match="did you mean 'temperature'"):
        GenerationParams.resolve({"temprature": 1})


def test_what_is_asked_wins_over_a_models_own_and_null_means_not_asked():
    params = GenerationParams.resolve({"temperature": 0.2, "top_p": None}, {"temperature": 0.7, "top_p": 0.9})
    assert (params.temperature, params.top_p) == (0.2, 0.9)


def test_a_models_other_settings_are_not_ours_to_judge():
    assert GenerationParams.resolve({}, {"eos_token_id": 2, "temperature": 0.5}).temperature == 0.5


@given(st.floats(0, 2))
def test_any_temperature_in_bounds_is_kept_exactly(value):
    assert GenerationParams(temperature=value).temperature == value


def test_one_stop_string_or_several():
    assert GenerationParams(stop="end").stop == ("end",)
    assert GenerationParams(stop=["a", "b"]).stop == ("a", "b")
