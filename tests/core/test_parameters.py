"""Generation parameters are validated, and error messages state the bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.core.parameter_spec import MAX_STRING
from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams


def test_default_values_are_valid():
    assert GenerationParams() == GenerationParams(**{name: spec.default for name, spec in PARAMETER_SPECS.items()})


@pytest.mark.parametrize("name", PARAMETER_SPECS)
def test_every_description_is_a_sentence(name):
    assert PARAMETER_SPECS[name].description.endswith(".")


@pytest.mark.parametrize(
    ("name", "value", "message"),
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
        ("seed", 2**63, "between -9,223,372,036,854,775,808 and 9,223,372,036,854,775,807"),
        ("stop", ["a", "b", "c", "d", "e"], "at most 4"),
        ("stop", [""], "non-empty strings"),
        ("stop", [3], "strings"),
        ("stop", ["a" * (MAX_STRING + 1)], "up to 4,096 characters"),
        ("bad_words", ["a", "a" * (MAX_STRING + 1)], "up to 4,096 characters"),
    ],
)
def test_a_value_out_of_bounds_is_rejected_with_its_bound(name, value, message):
    with pytest.raises(InvalidParameter, match=message) as error:
        GenerationParams(**{name: value})
    assert error.value.param == name
    assert len(str(error.value)) < 200


def test_an_unknown_name_is_rejected_with_a_suggestion():
    with pytest.raises(InvalidParameter, match="did you mean 'temperature'"):
        GenerationParams.resolve({"temprature": 1})


def test_request_values_override_model_defaults_unless_null():
    params = GenerationParams.resolve({"temperature": 0.2, "top_p": None}, {"temperature": 0.7, "top_p": 0.9})
    assert (params.temperature, params.top_p) == (0.2, 0.9)


def test_unknown_settings_of_a_model_are_ignored():
    assert GenerationParams.resolve({}, {"eos_token_id": 2, "temperature": 0.5}).temperature == 0.5


@given(st.floats(0, 2))
def test_a_valid_temperature_is_stored_unchanged(value):
    assert GenerationParams(temperature=value).temperature == value


def test_stop_accepts_a_string_or_a_list():
    assert GenerationParams(stop="end").stop == ("end",)
    assert GenerationParams(stop=["a", "b"]).stop == ("a", "b")
