"""Normalized schemas: values valid for one are valid for the original, and objects that list properties are closed."""

import json
import random

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher
from test_constraints import sample_tokens

from turnwise.core.errors import InvalidParameter
from turnwise.text.constraints.grammar_compiler import MAX_SCHEMA_CHARACTERS, GrammarCompiler
from turnwise.text.constraints.json_schema import normalize_schema
from turnwise.text.constraints.json_schema_errors import drop_unsupported_keywords, find_unsupported_keywords
from turnwise.text.constraints.schema_keywords import MAX_DEPTH, SUPPORTED_FORMATS, SchemaError

TEXT = {"type": "string"}
POINT = {"type": "object", "properties": {"x": TEXT}}
PERSON = {"type": "object", "properties": {"y": TEXT}}
CLOSED = {**POINT, "additionalProperties": False}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (POINT, CLOSED),
        ({"type": "object", "properties": {}}, NOTHING),
        ({"type": ["object", "null"], "properties": {"x": TEXT}},
         {"type": ["object", "null"], "properties": {"x": TEXT}, "additionalProperties": False}),
        ({"type": "object", "properties": {"a": POINT}, "required": ["a"]},
         {"type": "object", "properties": {"a": CLOSED}, "required": ["a"], "additionalProperties": False}),
        ({"type": "array", "items": POINT}, {"type": "array", "items": CLOSED}),
        ({"prefixItems": [POINT], "items": False}, {"prefixItems": [CLOSED], "items": False}),
        ({"anyOf": [POINT, TEXT]}, {"anyOf": [CLOSED, TEXT]}),
        ({"$ref": "#/$defs/p", "$defs": {"p": POINT}}, {"$ref": "#/$defs/0", "$defs": {"0": CLOSED}}),
        ({"$ref": "#p", "$defs": {"p": {"$anchor": "p", **POINT}}}, {"$ref": "#/$defs/0", "$defs": {"0": CLOSED}}),
        ({"allOf": [{"$ref": "#/definitions/p"}], "description": "pydantic 1", "definitions": {"p": POINT}},
         {"allOf": [{"$ref": "#/$defs/0"}], "$defs": {"0": CLOSED}}),
        ({**POINT, "patternProperties": {"^y": TEXT}},
         {**POINT, "patternProperties": {"^y": TEXT}, "additionalProperties": False}),
        ({**POINT, "required": ["z"]},
         {"type": "object", "properties": {"x": TEXT, "z": True}, "required": ["z"], "additionalProperties": False}),
        ({**POINT, "additionalProperties": None}, CLOSED),
        ({**POINT, "unevaluatedProperties": False}, CLOSED),
    ],
)  # fmt: skip
def test_an_object_that_lists_its_properties_has_no_others(schema, expected):
    assert normalize_schema(schema) == expected


def test_objects_of_several_schemas_have_the_properties_of_all():
    schema = {
        "$defs": {"p": POINT},
        "allOf": [{"$ref": "#/$defs/p"}, PERSON],
        "properties": {"p": {"$ref": "#/$defs/p"}},
    }
    normalized = normalize_schema(schema)
    assert normalized["properties"].keys() == {"p", "x", "y"}
    assert normalized["additionalProperties"] is False
    assert "additionalProperties" not in normalized["allOf"][1]
    by_name = {reference: normalized["$defs"][reference.rsplit("/")[-1]] for reference in
               (normalized["allOf"][0]["$ref"], normalized["properties"]["p"]["$ref"])}  # fmt: skip
    assert list(by_name.values()) == [POINT, CLOSED]


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "object"},
        {**POINT, "additionalProperties": True},
        {**POINT, "additionalProperties": TEXT},
        {"type": "object", "patternProperties": {"^y": TEXT}},
        {"allOf": [{**POINT, "additionalProperties": True}, PERSON]},
        {"const": {"type": "object", "properties": {"type": "object"}}},
        {"enum": [{"type": "object", "properties": {"a": 1}, "description": "b"}]},
    ],
)
def test_open_objects_and_plain_data_are_not_changed(schema):
    assert normalize_schema(schema) == schema


@pytest.mark.parametrize("name", ["not", "if", "allOf", "enum", "const", "default", "examples", "properties", "$ref"])
def test_a_property_may_have_the_name_of_a_keyword(name):
    schema = {"type": "object", "properties": {name: POINT}, "required": [name]}
    normalized = normalize_schema(schema)
    assert normalized == {**schema, "properties": {name: CLOSED}, "additionalProperties": False}
    assert drop_unsupported_keywords(schema) == (schema, [])


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"title": "A", "description": "b", "default": "c", "examples": ["d"], "$comment": "e", "deprecated": True,
          "readOnly": True, "x-order": 1, "nullable": True, "contentEncoding": "base64", **TEXT}, TEXT),
        ({"type": "string", "format": "phone"}, TEXT),
        ({"type": "string", "format": "phone", "pattern": "^[0-9]+$"}, {"type": "string", "pattern": "^[0-9]+$"}),
        ({"type": "object", "propertyNames": {"type": "string", "description": "key"}, "additionalProperties": TEXT},
         {"type": "object", "additionalProperties": TEXT}),
        ({"type": "array", "uniqueItems": False, "minContains": 1}, {"type": "array"}),
        ({"type": "object", "unevaluatedProperties": True, "dependentRequired": {}}, {"type": "object"}),
        ({"type": "string", "if": {"const": "a"}, "not": False}, TEXT),
        ({"$schema": "https://example.com/mine", "type": "string", "x-guidance": {"lenient": True}}, TEXT),
    ],
)  # fmt: skip
def test_annotations_and_trivial_assertions_are_removed(schema, expected):
    assert normalize_schema(schema) == expected
    assert list(find_unsupported_keywords(schema)) == []


@pytest.mark.parametrize(
    ("parts", "keyword"),
    [
        ([{"const": 1}, {"const": 2, "title": "two"}], "anyOf"),
        ([{"enum": ["a", "b"]}, {"const": None}], "anyOf"),
        ([{"enum": ["a", "b"]}, {"const": "a"}], "oneOf"),
        ([{"const": 1}, {"const": 1.0}], "oneOf"),
    ],
)
def test_one_of_distinct_constants_becomes_any_of(parts, keyword):
    assert keyword in normalize_schema({"oneOf": parts})


def test_supported_formats_are_those_of_the_library():
    def is_valid(format):
        grammar = LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", "format": format}))
        return LLMatcher.validate_grammar(grammar) == ""

    assert all(map(is_valid, SUPPORTED_FORMATS))
    registered = {"idn-email", "idn-hostname", "uri-reference", "iri", "iri-reference", "uri-template", "json-pointer",
                  "relative-json-pointer", "regex"}  # fmt: skip
    assert not any(map(is_valid, registered)), "formats that the library supports now can be added"


NO_PARAMETERS = [
    {},
    {"type": "object"},
    {"type": "object", "properties": {}},
    {"type": "object", "properties": {}, "required": []},
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"type": "object", "properties": None, "required": None},
    {"title": "Now", "type": "object", "properties": {}},  # pydantic
    {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {},
     "additionalProperties": False},  # zod
    {"$ref": "#/$defs/Now", "$defs": {"Now": {"title": "Now", "type": "object"}}},
    {"allOf": [{"type": "object"}]},
]  # fmt: skip


@pytest.mark.parametrize("schema", NO_PARAMETERS)
def test_a_tool_without_parameters_gets_no_arguments(tokenizer, schema):
    normalized = normalize_schema(schema, arguments=True)
    grammar = GrammarCompiler(tokenizer).compile_json_schema(schema, "tools[0].function.parameters", arguments=True)
    assert {tokenizer.decode(sample_tokens(grammar, tokenizer, seed)[0]) for seed in range(5)} == {"{}"}
    assert not jsonschema.Draft202012Validator(normalized).is_valid({"a": 1})


@pytest.mark.parametrize(
    "schema",
    [{"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": TEXT},
     {"type": "object", "minProperties": 1}, {"type": "object", "patternProperties": {"^a": TEXT}}],
)  # fmt: skip
def test_a_tool_may_allow_any_arguments_explicitly(schema):
    assert "properties" not in normalize_schema(schema, arguments=True)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    max_leaves=6,
)
schemas = st.recursive(
    st.sampled_from([TEXT, {"type": "integer"}, {"type": "object"}, {}, {"$ref": "#/$defs/d"}]),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda name, parts: {name: parts}, st.sampled_from(["anyOf", "allOf"]),
                  st.lists(inner, min_size=1, max_size=2)),
        st.builds(
            lambda properties, more, parts: {"type": "object", "properties": properties, **more, **parts},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            st.sampled_from([{}, {"additionalProperties": False}, {"minProperties": 1}, {"required": ["a"]},
                             {"unevaluatedProperties": False}, {"description": "d", "format": "phone"}]),
            st.one_of(st.just({}), st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=2)),
                      st.builds(lambda parts: {"allOf": parts}, st.lists(inner, min_size=1, max_size=2))),
        ),
    ),
    max_leaves=6,
)  # fmt: skip
definitions = st.sampled_from([POINT, {"type": "object", "properties": {"a": {"$ref": "#/$defs/d"}}}, TEXT])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas, definition=definitions, value=values)
def test_values_that_are_valid_for_the_normalized_schema_are_valid_for_the_original(schema, definition, value):
    sent = {**schema, "$defs": {"d": definition}}
    if schema.get("$ref") == "#/$defs/d" or not isinstance(schema, dict):
        return
    normalized = normalize_schema(sent)
    if jsonschema.Draft202012Validator(normalized).is_valid(value):
        jsonschema.validate(value, sent)


@pytest.mark.parametrize("seed", range(6))
def test_sampled_output_of_composed_objects_is_valid_and_closed(tokenizer, seed):
    short = {"type": "string", "maxLength": 3}
    schema = {
        "$defs": {"P": {"type": "object", "properties": {"x": short}, "required": ["x"]}},
        "allOf": [{"$ref": "#/$defs/P"}, {"properties": {"y": {"type": "integer", "minimum": 0, "maximum": 9}}}],
        "properties": {"p": {"allOf": [{"$ref": "#/$defs/P"}], "description": "as pydantic 1 writes it"}},
        "required": ["p"],
        "type": "object",
    }
    ids, ended = sample_tokens(GrammarCompiler(tokenizer).compile_json_schema(schema, "x"), tokenizer, seed)
    assert ended
    value = json.loads(tokenizer.decode(ids))
    jsonschema.validate(value, schema)
    assert value.keys() <= {"x", "y", "p"}
    assert value["p"].keys() == {"x"}


@pytest.mark.parametrize(
    ("schema", "path", "reason"),
    [
        ({"properties": {"a": {"pattern": "^(?=a)a$"}}}, "properties.a.pattern", "look-around"),
        ({"properties": {"a": {"pattern": "(a)\\1"}}}, "properties.a.pattern", "backreferences"),
        ({"properties": {"a": {"pattern": "(a"}}}, "properties.a.pattern", "unclosed group"),
        ({"items": [{"not": {"const": 1}}]}, "items[0].not", "not supported"),
        ({"properties": {"a": {"uniqueItems": True}}}, "properties.a.uniqueItems", "not supported"),
        ({"$defs": {"b": {"if": {}, "then": {}}}, "$ref": "#/$defs/b"}, "$defs.b.if", "not supported"),
        ({"anyOf": [TEXT, {"patternProperties": {"(?!a)": {}}}]}, "anyOf[1].patternProperties", "look-around"),
        ({"properties": {"a": {"oneOf": [POINT, PERSON, POINT]}}}, "properties.a.oneOf", "use 'anyOf'"),
        ({"$ref": "#/$defs/nowhere"}, "response_format", "does not point to a schema"),
        ({"propertyNames": {"enum": ["a"]}}, "propertyNames", "not supported"),
    ],
)
def test_an_error_names_the_keyword_and_the_reason(tokenizer, schema, path, reason):
    with pytest.raises(InvalidParameter) as error:
        GrammarCompiler(tokenizer).compile_json_schema(schema, "response_format")
    assert path in str(error.value)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert "coerce" not in str(error.value)


def test_unsupported_keywords_can_be_dropped(tokenizer):
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "^(?!x)", "maxLength": 2},
            "b": {
                "type": "array",
                "uniqueItems": True,
                "maxItems": 1,
                "items": {"oneOf": [{"const": 1}, {"const": 2}]},
            },
            "c": {"oneOf": [POINT, POINT]},
        },
    }
    relaxed, dropped = drop_unsupported_keywords(schema)
    assert dropped == ["properties.a.pattern", "properties.b.uniqueItems", "properties.c.oneOf"]
    assert relaxed["properties"]["a"] == {"type": "string", "maxLength": 2}
    assert relaxed["properties"]["c"] == {"anyOf": [POINT, POINT]}
    assert schema["properties"]["a"]["pattern"], "the original schema is not changed"
    GrammarCompiler(tokenizer).compile_json_schema(relaxed, "x")


def test_descriptions_do_not_count_towards_the_limit(tokenizer):
    long = {
        "description": "word " * 200_000,
        "type": "object",
        "properties": {"a": {"title": "t" * MAX_SCHEMA_CHARACTERS, **TEXT}},
    }
    GrammarCompiler(tokenizer).compile_json_schema(long, "response_format")


@pytest.mark.costly
def test_published_sizes_are_accepted(tokenizer):
    """OpenAI: 5000 properties, 120,000 characters of names, enums and constants, 1000 enum values."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=20)) for _ in range(1000)]
    properties = {f"property_{i}": {"type": "integer"} for i in range(4996)}
    properties |= {f"choice_{i}": {"enum": words[i::4]} for i in range(4)}
    GrammarCompiler(tokenizer).compile_json_schema({"type": "object", "properties": properties}, "response_format")


def test_schemas_are_limited_in_depth(tokenizer):
    def nested(depth):
        schema = TEXT
        for _ in range(depth):
            schema = {"type": "object", "properties": {"a": schema}}
        return schema

    GrammarCompiler(tokenizer).compile_json_schema(nested(20), "x")
    with pytest.raises(SchemaError, match="deeper than 100"):
        normalize_schema(nested(MAX_DEPTH + 1))
    for depth in (MAX_DEPTH + 1, 2000):
        with pytest.raises(InvalidParameter):
            GrammarCompiler(tokenizer).compile_json_schema(nested(depth), "x")
