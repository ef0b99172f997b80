"""Closing schemas: what follows the closed one follows the one that was sent, and only listed objects are closed."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.text.schema import closed

TEXT = {"type": "string"}
POINT = {"type": "object", "properties": {"x": TEXT}}
CLOSED = {**POINT, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (POINT, CLOSED),
        ({"type": "object", "properties": {"a": POINT}, "required": ["a"]},
         {"type": "object", "properties": {"a": CLOSED}, "required": ["a"], "additionalProperties": False}),
        ({"type": "array", "items": POINT}, {"type": "array", "items": CLOSED}),
        ({"anyOf": [POINT, TEXT]}, {"anyOf": [CLOSED, TEXT]}),
        ({"$ref": "#/$defs/p", "$defs": {"p": POINT}}, {"$ref": "#/$defs/p", "$defs": {"p": CLOSED}}),
    ],
)  # fmt: skip
def test_an_object_that_lists_its_properties_has_no_others(schema, expected):
    assert closed(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {**POINT, "additionalProperties": True},
        {**POINT, "additionalProperties": TEXT},
        {"allOf": [POINT, {"type": "object", "properties": {"y": TEXT}}]},
        {**POINT, "anyOf": [{"required": ["x"]}, {"required": ["y"]}]},
        {**POINT, "patternProperties": {"^y": TEXT}},
        {"const": {"type": "object", "properties": {"type": "object"}}},
        {"enum": [{"type": "object", "properties": {"a": 1}}]},
    ],
)
def test_what_was_meant_to_be_open_stays_as_it_is(schema):
    assert closed(schema) == schema


def test_a_property_may_have_any_name():
    names = ["properties", "type", "enum", "items"]
    schema = {"type": "object", "properties": dict.fromkeys(names, POINT)}
    jsonschema.Draft202012Validator.check_schema(closed(schema))
    value = {name: {"x": "a"} for name in names}
    jsonschema.validate(value, closed(schema))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    max_leaves=6,
)
schemas = st.recursive(
    st.sampled_from([TEXT, {"type": "integer"}, {"type": "object"}, {}]),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(
            lambda properties, more: {"type": "object", "properties": properties, **more},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            st.sampled_from([{}, {"additionalProperties": False}, {"minProperties": 1}]),
        ),
    ),
    max_leaves=6,
)


@given(schema=schemas, value=values)
def test_what_follows_the_closed_schema_follows_the_one_that_was_sent(schema, value):
    if jsonschema.Draft202012Validator(closed(schema)).is_valid(value):
        jsonschema.validate(value, schema)
