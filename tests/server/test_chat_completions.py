"""Fields that change the answer, with a real model and the official client."""

import json
import math
import re

import jsonschema
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

HELLO = [{"role": "user", "content": "Hello, who are you?"}]


@pytest.fixture(scope="module")
def client():
    with open_chat_service() as service, serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)


@pytest.fixture(scope="module")
def tokenizer():
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.text.tokenization.tokenizer import Tokenizer

    return Tokenizer.load(resolve_model_folder("box"))


def create(client, **fields):
    extensions = {name: fields.pop(name) for name in list(fields) if name in EXTENSIONS}
    arguments = {"model": "box", "messages": HELLO, "max_tokens": 40, **fields}
    return client.chat.completions.create(**arguments, extra_body=extensions)


EXTENSIONS = {
    "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "min_tokens", "stop_token_ids",
    "ignore_eos", "bad_words", "guided_regex", "guided_choice", "guided_grammar", "chat_template_kwargs", "num_beams",
    "penalty_alpha", "num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping", "priority", "echo",
    "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "context_policy", "sampling_preset",
}  # fmt: skip


def rejected(client, **fields):
    with pytest.raises(openai.BadRequestError) as error:
        create(client, **fields)
    return error.value.body["param"], error.value.body["message"]


def tokens(choice):
    return [entry.token for entry in choice.logprobs.content]


# Streaming


def collect_stream(client, answers, **fields):
    texts, finish_reasons, logprobs, usage = [""] * answers, {}, [[] for _ in range(answers)], None
    for chunk in create(client, stream=True, stream_options={"include_usage": True}, n=answers, **fields):
        usage = chunk.usage or usage
        for chunk_choice in chunk.choices:
            texts[chunk_choice.index] += chunk_choice.delta.content or ""
            logprobs[chunk_choice.index] += (chunk_choice.logprobs and chunk_choice.logprobs.content) or []
            assert chunk_choice.index not in finish_reasons, "nothing follows the end of an answer"
            if chunk_choice.finish_reason:
                finish_reasons[chunk_choice.index] = chunk_choice.finish_reason
    return texts, [finish_reasons[i] for i in range(answers)], logprobs, usage


@settings(max_examples=25, deadline=None)
@given(
    answers=st.integers(1, 4),
    fields=st.fixed_dictionaries(
        {"seed": st.integers(0, 2**40)},
        optional={
            "temperature": st.floats(0, 2),
            "top_p": st.floats(0.1, 1),
            "top_k": st.integers(0, 50),
            "min_p": st.floats(0, 0.5),
            "typical_p": st.floats(0.2, 1),
            "epsilon_cutoff": st.floats(0, 0.2),
            "eta_cutoff": st.floats(0, 0.2),
            "top_n_sigma": st.floats(0, 4),
            "presence_penalty": st.floats(-2, 2),
            "frequency_penalty": st.floats(-2, 2),
            "repetition_penalty": st.floats(0.8, 1.5),
            "no_repeat_ngram_size": st.integers(0, 4),
            "logprobs": st.just(True),
            "stop": st.lists(st.sampled_from(["!", " a", "you", "e", ". ", "Turn"]), min_size=1, max_size=4),
            "max_tokens": st.integers(1, 60),
            "min_tokens": st.integers(0, 1),
            "bad_words": st.lists(st.sampled_from(["I", "the", "o", "Hello"]), min_size=1, max_size=2),
        },
    ),
)
def test_a_stream_has_the_same_content_as_the_response(client, answers, fields):
    response = create(client, n=answers, **fields)
    texts, finish_reasons, logprobs, usage = collect_stream(client, answers, **fields)
    assert texts == [choice.message.content for choice in response.choices]
    assert finish_reasons == [choice.finish_reason for choice in response.choices]
    # `cached_tokens` differ: the second request uses the prefix cache.
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [getattr(usage, name) for name in counts] == [getattr(response.usage, name) for name in counts]
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    for choice, entries in zip(response.choices, logprobs, strict=True):
        assert entries == (choice.logprobs.content if choice.logprobs else [])
        for string in [*fields.get("stop", []), *fields.get("bad_words", [])]:
            assert string not in choice.message.content
        if fields.get("logprobs") and not fields.get("stop"):
            assert b"".join(bytes(e.bytes or []) for e in entries).decode(errors="replace") == choice.message.content


# Several choices


def test_n_choices_differ_and_the_first_equals_that_of_a_single_request(client):
    choices = create(client, n=5, seed=7, temperature=1.5).choices
    assert [choice.index for choice in choices] == [0, 1, 2, 3, 4]
    assert len({choice.message.content for choice in choices}) > 1
    assert choices[0].message.content == create(client, seed=7, temperature=1.5).choices[0].message.content
    assert [c.message.content for c in create(client, n=5, seed=7, temperature=1.5).choices] == [
        c.message.content for c in choices
    ]


def test_usage_counts_the_prompt_once_and_all_choices(client):
    response = create(client, n=3, temperature=0, logprobs=True)
    written = sum(len(choice.logprobs.content) for choice in response.choices)
    assert response.usage.completion_tokens == written
    assert response.usage.prompt_tokens == create(client).usage.prompt_tokens


@pytest.mark.parametrize("n", [0, 129, 1.5])
def test_n_out_of_bounds_is_rejected(client, n):
    assert rejected(client, n=n)[0] == "n"


# Log-probabilities


def test_the_greedy_token_has_the_largest_logprob(client):
    choice = create(client, temperature=0, logprobs=True, top_logprobs=5).choices[0]
    assert "".join(tokens(choice)) == choice.message.content
    for entry in choice.logprobs.content:
        assert len(entry.top_logprobs) == 5
        assert (entry.token, entry.logprob) == (entry.top_logprobs[0].token, entry.top_logprobs[0].logprob)
        values = [top.logprob for top in entry.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert sum(math.exp(value) for value in values) <= 1 + 1e-6
        assert bytes(entry.bytes).decode() == entry.token


def test_tokens_that_are_incomplete_characters_have_bytes(client):
    choice = create(client, temperature=0, logprobs=True, guided_regex="好🚚").choices[0]
    assert choice.message.content == "好🚚"
    assert b"".join(bytes(entry.bytes) for entry in choice.logprobs.content).decode() == "好🚚"
    assert len(choice.logprobs.content) > 2


def test_top_logprobs_requires_logprobs(client):
    assert rejected(client, top_logprobs=3) == ("top_logprobs", "'top_logprobs' needs 'logprobs': true.")


# Biases and penalties


def first_logprobs(client, **fields):
    choice = create(client, temperature=0, logprobs=True, top_logprobs=20, max_tokens=1, **fields).choices[0]
    return {entry.token: entry.logprob for entry in choice.logprobs.content[0].top_logprobs}


@pytest.mark.parametrize("bias", [-3, 0.5, 2])
def test_logit_bias_shifts_the_logit_by_its_value(client, tokenizer, bias):
    plain = first_logprobs(client)
    first_token, second_token = list(plain)[:2]
    [id] = tokenizer.encode(first_token)
    shifted = first_logprobs(client, logit_bias={str(id): bias})
    assert (shifted[first_token] - shifted[second_token]) - (plain[first_token] - plain[second_token]) == pytest.approx(
        bias, abs=1e-4
    )


@pytest.mark.parametrize(("name", "times"), [("presence_penalty", 1), ("frequency_penalty", 3)])
def test_penalties_shift_the_logit_of_generated_tokens(client, name, times):
    """A regex forces one token three times; the distribution of the fourth token is compared."""

    def fourth_logprobs(**fields):
        choice = create(client, temperature=0, logprobs=True, top_logprobs=20, guided_regex="777[78]", **fields)
        assert tokens(choice.choices[0])[:3] == ["7"] * 3
        return {entry.token: entry.logprob for entry in choice.choices[0].logprobs.content[3].top_logprobs}

    plain, shifted = fourth_logprobs(), fourth_logprobs(**{name: 0.25})
    shift = (shifted["7"] - shifted["8"]) - (plain["7"] - plain["8"])
    assert shift == pytest.approx(-0.25 * times, abs=1e-4)


def test_token_ids_out_of_the_vocabulary_are_rejected(client):
    assert rejected(client, logit_bias={"999999": 1})[0] == "logit_bias"
    assert rejected(client, stop_token_ids=[999999])[0] == "stop_token_ids"


# Lengths and stop conditions


def test_ignore_eos_continues_to_the_limit_and_min_tokens_to_the_minimum(client):
    plain = create(client, temperature=0, max_tokens=80)
    assert plain.choices[0].finish_reason == "stop"
    assert create(client, temperature=0, max_tokens=80, ignore_eos=True).usage.completion_tokens == 80
    longer = create(client, temperature=0, max_tokens=80, min_tokens=plain.usage.completion_tokens + 5)
    assert longer.usage.completion_tokens >= plain.usage.completion_tokens + 5


def test_a_stop_token_ends_the_answer_and_is_excluded(client, tokenizer):
    text = create(client, temperature=0).choices[0].message.content
    ids = tokenizer.encode(text)
    short = create(client, temperature=0, stop_token_ids=[ids[4]]).choices[0]
    assert (short.message.content, short.finish_reason) == (tokenizer.decode(ids[: ids.index(ids[4])]), "stop")


def test_min_tokens_above_max_tokens_is_rejected(client):
    assert rejected(client, min_tokens=50)[0] == "min_tokens"


# Formats


@pytest.mark.costly
def test_the_json_object_format_is_enforced_at_temperature_2(client):
    for seed in range(5):
        choice = create(
            client, response_format={"type": "json_object"}, temperature=2, seed=seed, max_tokens=600
        ).choices[0]
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content), dict)
        else:
            assert choice.finish_reason == "length"


def test_parse_returns_an_object_of_the_class(client):
    import pydantic

    class Mood(pydantic.BaseModel):
        happy: bool
        score: int = pydantic.Field(ge=1, le=5)

    parsed = client.chat.completions.parse(model="box", messages=HELLO, response_format=Mood, temperature=2, seed=1)
    assert isinstance(parsed.choices[0].message.parsed, Mood)


def test_the_finish_reason_is_length_if_the_limit_cuts_a_format_off(client):
    format = {"type": "json_schema", "json_schema": {"name": "long", "schema": {"type": "string", "minLength": 500}}}
    assert create(client, response_format=format, max_tokens=5).choices[0].finish_reason == "length"


def test_guided_choice_regex_and_grammar_are_enforced(client):
    assert create(client, guided_choice=["red", "green"]).choices[0].message.content in ("red", "green")
    assert re.fullmatch(
        r"[0-9]{3}-[a-f]{2}", create(client, guided_regex="[0-9]{3}-[a-f]{2}").choices[0].message.content
    )
    text = create(client, guided_grammar='start: "<" /[a-z]{1,4}/ ">"').choices[0].message.content
    assert re.fullmatch(r"<[a-z]{1,4}>", text)


@pytest.mark.parametrize(
    ("fields", "param", "excerpt"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type", "one of text, json_object, json_schema"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "object"),
        ({"response_format": {"type": "text", "x": 1}}, "response_format.x", "Unknown parameter"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
         "response_format.json_schema.name", "letters"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {
            "type": "string", "pattern": "^(?=a)a$"}}}}, "response_format", "pattern"),
        ({"guided_regex": "("}, "guided_regex", "cannot be enforced"),
        ({"guided_choice": []}, "guided_choice", "list of 1 to"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice", "exclude each other"),
        ({"guided_regex": "a", "ignore_eos": True}, "ignore_eos", "contradicts"),
        ({"chat_template_kwargs": {"thinking": True}}, "thinking", "has no 'thinking'"),
        ({"chat_template_kwargs": {"messages": []}}, "messages", "has no 'messages'"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "model 'turnwise-box' has no 'reasoning_effort'"),
        ({"verbosity": "low"}, "verbosity", "has no 'verbosity'"),
        ({"num_beams": 65}, "num_beams", "between 1 and 64"),
        ({"num_beams": 4, "temperature": 0.7}, "temperature", "Leave one of them out"),
        ({"num_beams": 4, "top_p": 0.7}, "top_p", "Leave one of them out"),
        ({"num_beams": 4, "num_beam_groups": 3, "diversity_penalty": 1}, "num_beam_groups", "must divide"),
        ({"num_beams": 4, "num_beam_groups": 2}, "diversity_penalty", "together"),
        ({"num_beams": 4, "diversity_penalty": 2}, "diversity_penalty", "together"),
        ({"num_beams": 2, "n": 3}, "n", "returns at most 2"),
        ({"num_beams": 2, "prediction": {"type": "content", "content": "x"}}, "prediction", "Leave one"),
        ({"penalty_alpha": 0.6}, "top_k", "a value from 2 to"),
        ({"penalty_alpha": 0.6, "top_k": 4, "num_beams": 2}, "penalty_alpha", "different searches"),
        ({"penalty_alpha": 0.6, "top_k": 4, "top_p": 0.5}, "top_p", "Leave one of them out"),
        ({"length_penalty": 2}, "length_penalty", "needs beam search"),
        ({"early_stopping": True}, "early_stopping", "needs beam search"),
        ({"early_stopping": "sometimes"}, "early_stopping", "true, false or 'never'"),
        ({"prediction": "x"}, "prediction", "must be"),
        ({"prediction": {"type": "content", "content": [{"type": "image"}]}}, "prediction.content[0].type", "must be"),
        ({"priority": 101}, "priority", "between -100 and 100"),
        ({"bad_words": [""]}, "bad_words", "non-empty strings"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "token ids as keys"),
        ({"logit_bias": {"1": 101}}, "logit_bias", "between -100 and 100"),
        ({"repetition_penalty": 0}, "repetition_penalty", "greater than 0"),
    ],
)  # fmt: skip
def test_an_invalid_field_is_rejected_with_its_name(client, fields, param, excerpt):
    rejected_param, message = rejected(client, **fields)
    assert rejected_param == param
    assert excerpt in message


def test_constraints_that_contradict_each_other_during_generation_are_a_400(client):
    with pytest.raises(openai.BadRequestError, match="contradict each other"):
        create(client, guided_choice=["abc"], bad_words=["abc"])


# Schemas

names = st.sampled_from(["a", "b", "name", "the count", "größe"])
leaves = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda a, b: {"type": "integer", "minimum": min(a, b), "maximum": max(a, b)},
              st.integers(-99, 999), st.integers(-99, 999)),
    st.builds(lambda a, b: {"type": "string", "minLength": min(a, b), "maxLength": max(a, b)},
              st.integers(0, 8), st.integers(0, 8)),
    st.builds(lambda values: {"enum": values},
              st.lists(st.one_of(st.text(max_size=5), st.integers(-9, 9), st.booleans()), min_size=1, max_size=4)),
    st.sampled_from([{"type": "string", "pattern": "^[A-Z]{2}[0-9]{1,3}$"}, {"const": {"x": [1, "y"]}},
                     {"type": "string", "format": "date"}]),
)  # fmt: skip
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda properties, num_required: {
                "type": "object", "properties": properties, "additionalProperties": False,
                "required": sorted(properties)[: num_required % (len(properties) + 1)],
            },
            st.dictionaries(names, inner, max_size=3), st.integers(0, 3),
        ),
        st.builds(lambda items, a, b: {"type": "array", "items": items, "minItems": min(a, b), "maxItems": max(a, b)},
                  inner, st.integers(0, 3), st.integers(0, 3)),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(schema=schemas, seed=st.integers(0, 1000))
def test_answers_are_valid_against_any_schema_at_temperature_2(client, schema, seed):
    format = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema, "strict": True}}
    choice = create(client, response_format=format, temperature=2, seed=seed, max_tokens=900).choices[0]
    assert choice.finish_reason == "stop"
    jsonschema.validate(json.loads(choice.message.content), schema)
