"""Constraints hold whatever is drawn: grammars, and words that must not occur."""

import json
import random
import re
import time
from contextlib import suppress

import llguidance
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.parameter_spec import MAX_STRING
from turnwise.text.constraints.bad_words import BadWordsConstraint
from turnwise.text.constraints.grammar_cache import GrammarCache
from turnwise.text.constraints.grammar_compiler import MAX_GRAMMAR_CHARACTERS, GrammarCompiler
from turnwise.text.rendering import renderer as render
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.encoding import TooManyTokens
from turnwise.text.tokenization.vocabulary import Vocabulary

KINDS = ["turnwise", "chatml", "sentencepiece"]
each_kind = pytest.mark.parametrize("kind", KINDS)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sample_tokens(constraint, tokenizer, seed, max_tokens=400):
    """Tokens drawn evenly from what is allowed, until the end is drawn, nothing may follow, or `most` are out."""
    rng, state, ids = random.Random(seed), constraint.start(), []
    while len(ids) < max_tokens and not state.is_complete:
        allowed = [id for id, is_allowed in enumerate(state.token_mask()) if is_allowed]
        assert allowed, "a token is always allowed"
        ends = [id for id in allowed if id in tokenizer.stop_ids]
        token = rng.choice(ends) if ends and rng.random() < 0.2 else rng.choice(allowed)
        if token in tokenizer.stop_ids:
            return ids, True
        state.accept(token)
        ids.append(token)
    return ids, state.is_complete


@each_kind
@pytest.mark.parametrize("seed", range(5))
def test_sampled_output_matches_the_regex(tokenizer_of, kind, seed):
    tokenizer = tokenizer_of(kind)
    pattern = r"(yes|no), [a-z]{2,5} [0-9]{1,3}( 你好)?!"
    ids, ended = sample_tokens(GrammarCompiler(tokenizer).compile_regex(pattern, "guided_regex"), tokenizer, seed)
    assert ended
    assert re.fullmatch(pattern, tokenizer.decode(ids))


@pytest.mark.parametrize("seed", range(5))
def test_sampled_output_is_one_of_the_choices(tokenizer_of, seed):
    tokenizer = tokenizer_of("turnwise")
    choices = ["yes", "yes indeed", 'a "quoted" one\n', "你好"]
    ids, ended = sample_tokens(GrammarCompiler(tokenizer).compile_choice(choices, "guided_choice"), tokenizer, seed)
    assert ended
    assert tokenizer.decode(ids) in choices


SCHEMA = {
    "type": "object",
    "properties": {
        "size": {"enum": ["small", "large"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 20},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 2},
    },
    "required": ["size", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(8))
def test_sampled_output_is_valid_for_the_schema(tokenizer_of, seed):
    tokenizer = tokenizer_of("turnwise")
    grammar = GrammarCompiler(tokenizer).compile_json_schema(SCHEMA, "response_format")
    ids, ended = sample_tokens(grammar, tokenizer, seed)
    assert ended
    value = json.loads(tokenizer.decode(ids))
    assert value["size"] in ("small", "large")
    assert 1 <= value["count"] <= 20
    assert value.keys() <= SCHEMA["properties"].keys()


def test_sampled_output_follows_a_lark_grammar(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    grammar = GrammarCompiler(tokenizer).compile_lark('start: "(" start ")" | "x"', "guided_grammar")
    ids, ended = sample_tokens(grammar, tokenizer, 3)
    assert ended
    assert re.fullmatch(r"\(*x\)*", tokenizer.decode(ids))


def test_states_of_one_grammar_are_independent(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    grammar = GrammarCompiler(tokenizer).compile_choice(["ab", "cd"], "guided_choice")
    first, second = grammar.start(), grammar.start()
    first.accept(tokenizer.encode("a")[0])
    assert second.token_mask()[tokenizer.encode("c")[0]]
    assert not first.token_mask()[tokenizer.encode("c")[0]]


@pytest.mark.parametrize(
    ("compile_grammar", "message"),
    [
        (lambda g: g.compile_regex("(", "guided_regex"), "'guided_regex' cannot be enforced"),
        (lambda g: g.compile_lark("nonsense", "guided_grammar"), "'guided_grammar' cannot be enforced"),
        (
            lambda g: g.compile_json_schema({"type": "array", "uniqueItems": True}, "response_format"),
            "schema.uniqueItems",
        ),
        (
            lambda g: g.compile_json_schema({"type": "object", "unevaluatedProperties": 1}, "response_format"),
            "unevaluated",
        ),
        (
            lambda g: g.compile_json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "x"),
            "'x' cannot",
        ),
        (lambda g: g.compile_json_schema({"type": "wrong"}, "x"), "'x' cannot"),
        (lambda g: g.compile_json_schema(3, "x"), "'x' cannot"),
        (
            lambda g: g.compile_regex("a" * (MAX_GRAMMAR_CHARACTERS + 1), "guided_regex"),
            "longer than 65,536 characters",
        ),
    ],
)
def test_an_unsupported_grammar_is_rejected_with_the_reason(tokenizer_of, compile_grammar, message):
    with pytest.raises(InvalidParameter, match=re.escape(message)) as error:
        compile_grammar(GrammarCompiler(tokenizer_of("turnwise")))
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [
        lambda g: g.compile_regex("(a{1000}){1000}", "x"),
        lambda g: g.compile_regex("((a+)+)+b", "x"),
        lambda g: g.compile_regex("(.*a.{30}){10}", "x"),
        lambda g: g.compile_regex("(a|b|ab)*" * 200, "x"),
        lambda g: g.compile_lark("start: a\na: a a | " + '"x"', "x"),
        lambda g: g.compile_lark(
            "\n".join(["start: a0", *(f"a{i}: a{i + 1} a{i + 1}" for i in range(40)), 'a40: "x"']), "x"
        ),
        lambda g: g.compile_json_schema(nested(400), "x"),
        lambda g: g.compile_json_schema({"type": "array", "minItems": 100_000, "items": {"type": "integer"}}, "x"),
        lambda g: g.compile_json_schema(
            {"type": "string", "allOf": [{"pattern": f"^(a|b)*a(a|b){{{i}}}$"} for i in range(10, 16)]}, "x"
        ),
        lambda g: g.compile_json_schema(
            {"anyOf": [{"type": "object", "properties": {f"k{i}{j}": {"type": "integer"} for j in range(50)}}
                       for i in range(50)]}, "x"
        ),
    ],
)  # fmt: skip
def test_a_hostile_grammar_is_fast_or_rejected(tokenizer_of, attack):
    tokenizer = tokenizer_of("turnwise")
    grammars = GrammarCompiler(tokenizer)
    grammars.compile_regex("warm up", "x")
    start = time.thread_time()
    with suppress(UserError):  # may be raised at any step
        state = attack(grammars).start()
        for _ in range(50):
            if state.is_complete:
                break
            state.accept(int(state.token_mask().nonzero()[0][-1]))
    assert time.thread_time() - start < 5


@each_kind
def test_token_bytes_concatenate_to_the_text(tokenizer_of, kind):
    tokenizer = tokenizer_of(kind)
    vocabulary = Vocabulary(tokenizer)
    assert len(vocabulary) == tokenizer.vocab_size
    for text in ("Hello, how are you?", "你好 🚚", "été\n\n  x"):
        ids = tokenizer.encode(text)
        assert b"".join(vocabulary.token_bytes(id) for id in ids).decode().strip() == text.strip()
    for id in tokenizer.special_ids:
        assert vocabulary.output_bytes(id) == b""
        assert vocabulary.token_bytes(id).decode() == tokenizer.backend.id_to_token(id)


WORDS = ["a", "ab", "the", "e r", "好", "lamp", "Ã", "!", "aaa"]


@each_kind
@quick
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_bad_words_never_occur_however_they_are_tokenized(tokenizer_of, kind, words, seed):
    tokenizer = tokenizer_of(kind)
    state = BadWordsConstraint(words, vocabulary := Vocabulary(tokenizer)).start()
    rng, output = random.Random(seed), b""
    candidates = [
        i for i in range(len(vocabulary)) if any(c in vocabulary.output_bytes(i) for c in "".join(words).encode())
    ]
    for _ in range(80):
        token_mask = state.token_mask()
        token = rng.choice([id for id in candidates if token_mask[id]] or [int(token_mask.nonzero()[0][0])])
        # Exactly the tokens that would complete a word are masked.
        for id in rng.sample(range(len(vocabulary)), 30):
            completes = any(word.encode() in output + vocabulary.output_bytes(id) for word in words)
            assert token_mask[id] == (not completes)
        state.accept(token)
        output += vocabulary.output_bytes(token)
    assert not any(word.encode() in output for word in words)


@each_kind
def test_a_step_with_the_longest_bad_words_is_fast(tokenizer_of, kind):
    words = BadWordsConstraint([letter * MAX_STRING for letter in "abcdefghijklmnop"], Vocabulary(tokenizer_of(kind)))
    state, start = words.start(), time.thread_time()
    for token in tokenizer_of(kind).encode("a" * 20):
        state.token_mask()
        state.accept(token)
    assert time.thread_time() - start < 2


class TestCache:
    def test_it_returns_a_grammar_of_the_same_source(self, tokenizer_of):
        grammars = GrammarCompiler(tokenizer_of("turnwise"))
        assert grammars.compile_regex("a+", "x") is grammars.compile_regex("a+", "y")
        assert grammars.compile_regex("a+", "x") is not grammars.compile_regex("b+", "x")

    def test_it_is_bounded_by_the_number_of_grammars(self):
        cache = GrammarCache(max_grammars=2)
        for source in "abac":
            cache.put(source, source)
        assert [cache.get(source) for source in "abc"] == ["a", None, "c"]

    def test_it_is_bounded_by_the_characters_of_their_sources(self):
        cache = GrammarCache(max_characters=100)
        for letter in "abc":
            cache.put(letter * 40, letter)
        assert [cache.get(letter * 40) for letter in "abc"] == [None, "b", "c"]
        cache.put("d" * 101, "d")
        assert cache.get("d" * 101) is None
        assert cache.num_characters <= 100


def test_prepare_builds_all_tables_of_the_vocabulary(tokenizer_of, monkeypatch):
    renderer = Renderer.from_tokenizer(tokenizer_of("turnwise"))
    renderer.prepare()
    for name in ("Vocabulary", "TokenLowerBound", "GrammarCompiler"):
        monkeypatch.setattr(render, name, None)
    monkeypatch.setattr(llguidance, "LLTokenizer", None)
    with pytest.raises(TooManyTokens):
        renderer.check_length("a" * 1_000_000, 10)
    assert renderer.grammar_compiler.compile_json_object().start().token_mask().any()
    assert len(renderer.vocabulary.tokens_with_prefix(b"a")) > 0
