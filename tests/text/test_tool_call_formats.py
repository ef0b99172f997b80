"""Tool-call formats: grammars allow only valid calls, and responses are parsed to the calls that they contain."""

import json
import random
import re
import time
from contextlib import suppress
from itertools import pairwise

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tool_templates import HERMES, LLAMA, MISTRAL, SPECIAL, TAGS

from turnwise.core.errors import InvalidParameter
from turnwise.core.tools import Tool
from turnwise.text import tool_call_formats
from turnwise.text.constraints.grammar_compiler import GrammarCompiler
from turnwise.text.constraints.tool_call_grammar import RAW_CLOSING, build_tool_call_grammar
from turnwise.text.streaming.tool_call_parser import ToolCallParser
from turnwise.text.tokenization.llguidance_tokenizer import LLGuidanceTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import Vocabulary

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
each_format = pytest.mark.parametrize("name", tool_call_formats.TOOL_CALL_FORMATS.names())

WEATHER = Tool("get_weather", "tools[0].function.parameters", schema={
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 7},
                   "unit": {"$ref": "#/$defs/unit"}},
    "required": ["city", "days"],
    "additionalProperties": False,
    "$defs": {"unit": {"enum": ["C", "F"]}},
})  # fmt: skip
NOW = Tool("get", schema={"type": "object", "properties": {}, "additionalProperties": False})
TEXT = Tool("note", kind="custom")
CODE = Tool("code", kind="custom", syntax="regex", grammar=r'[a-z]{1,4}("|\\|\n| ){0,2}')
NUMBERS = 'start: n ("+" n){0,3}\nn: /[0-9]{1,2}/ | "\\n}\\n</tool_call>"'
SUM = Tool("sum", kind="custom", syntax="lark", grammar=NUMBERS)
TOOLS = [WEATHER, NOW, TEXT, CODE, SUM]


@pytest.fixture(scope="module")
def tokenizer_for(made_tokenizer, tokenizer):
    """The tokenizer for a format. In Mistral's, the marker is a special token."""
    made = {"plain": tokenizer}

    def get(name):
        if name not in made:
            template, special, named = SPECIAL[name]
            made[name] = Tokenizer(made_tokenizer(special), named, template)
        return made[name]

    return get


# Detection


def test_the_format_of_a_template_is_detected():
    assert tool_call_formats.TOOL_CALL_FORMATS.names() == ("hermes", "llama", "mistral")
    for name, template in {"hermes": HERMES, "llama": LLAMA, "mistral": MISTRAL}.items():
        assert tool_call_formats.detect_format(template) == tool_call_formats.load_format(name)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        TAGS,
        HERMES.replace("for tool in tools", "for tool in xml_tools").replace("if tools", "if xml_tools"),
        MISTRAL.replace("'[TOOL_CALLS]['", "'[TOOL_CALLS][ARGS]'"),
        "{% if tools %}broken",
    ],
)
def test_templates_without_tools_or_in_unknown_formats_have_no_format(template):
    assert tool_call_formats.detect_format(template) is None


# Parsing

inputs = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
delimiters = st.sampled_from(['"}', "</tool_call>", "{[", "\\", "]; "])
values = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.none(), inputs, delimiters),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(inputs, inner, max_size=3)),
    max_leaves=5,
)
calls = st.one_of(
    st.tuples(st.just(WEATHER), st.dictionaries(inputs, values, max_size=3)),
    st.tuples(st.just(NOW), st.just({})),
    st.tuples(st.just(TEXT), inputs),
)
raws = st.tuples(st.just(SUM), st.sampled_from(["1+2", "", "\n}", "\n}\n</tool_call>", "}]", "}\n}", "}]}"]))
contents = st.one_of(
    st.sampled_from(["", "Hello", "a < b", "<tool", "\n\n", "</tool_call>", "[TOOL", "\n<tool_cal", "x\n"]), inputs
)


def call_text(call_format, tool, arguments, ascii):
    if tool is SUM:
        return f'{{"name": "sum", "{call_format.arguments_key}": \n{arguments}\n}}'
    value = {"input": arguments} if tool.kind == "custom" else arguments
    return f'{{"name": "{tool.name}", "{call_format.arguments_key}": {json.dumps(value, ensure_ascii=ascii)}}}'


def arguments_of(tool, arguments, ascii):
    return arguments if tool.kind == "custom" else json.dumps(arguments, ensure_ascii=ascii)


def parse(call_format, text, cuts, **options):
    """Content, calls as (name, kind, arguments), and the parser."""
    parser = ToolCallParser(call_format, TOOLS, **options)
    content, parsed_calls, positions = "", [], [0, *sorted(cuts), len(text)]
    for start, end in pairwise(positions):
        more, pieces = parser.push(text[start:end])
        assert not (more and parsed_calls), "no content after a call"
        content += more
        for piece in pieces:
            if piece.name is not None:
                assert (piece.index, piece.arguments) == (len(parsed_calls), "")
                parsed_calls.append([piece.name, piece.kind, ""])
            else:
                assert piece.arguments
                assert piece.index == len(parsed_calls) - 1
                parsed_calls[-1][2] += piece.arguments
    return content + parser.flush(), [tuple(call) for call in parsed_calls], parser


@st.composite
def responses(draw):
    """A response in a random format, its expected content and calls, and positions of chunk borders."""
    call_format = tool_call_formats.load_format(draw(st.sampled_from(tool_call_formats.TOOL_CALL_FORMATS.names())))
    content = draw(contents).replace(call_format.marker or "\0", "").lstrip("{")
    called_tools = draw(st.lists(calls, max_size=3)) + draw(st.lists(raws, max_size=1))
    ascii = draw(st.booleans())
    if not call_format.marker and called_tools:
        content = ""
    text, expected_content = content, content
    if called_tools:
        if call_format.marker and draw(st.booleans()):
            text += "\n"
        else:
            expected_content = content.removesuffix("\n") if call_format.marker else content
        bodies = [call_text(call_format, *call, ascii) for call in called_tools]
        opening = draw(st.sampled_from(call_format.openings))
        text += f"{call_format.marker}{opening}{call_format.separator.join(bodies)}{call_format.closing}"
    expected = [(tool.name, tool.kind, arguments_of(tool, arguments, ascii)) for tool, arguments in called_tools]
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=8))
    return call_format, text, expected_content, expected, cuts


@quick
@given(responses())
def test_a_response_is_parsed_independently_of_its_chunks(response):
    call_format, text, expected_content, expected, cuts = response
    for positions in (cuts, range(len(text)), []):
        content, parsed_calls, parser = parse(call_format, text, positions)
        assert (content, parsed_calls) == (expected_content, expected)
        assert parser.is_complete == bool(expected)


CLOSING_IN_INPUT = "\n}\n</tool_call>"
CUT_IN_INPUT = (
    tool_call_formats.load_format("hermes"),
    f'<tool_call>\n{{"name": "sum", "arguments": \n{CLOSING_IN_INPUT}\n}}\n</tool_call>',
    "",
    [("sum", "custom", CLOSING_IN_INPUT)],
    [],
)


@quick
@given(responses(), st.integers(0, 200))
@example(CUT_IN_INPUT, len(CUT_IN_INPUT[1]) - len(CLOSING_IN_INPUT))
def test_a_truncated_response_is_parsed_to_prefixes_without_markers(response, length):
    call_format, text, expected_content, expected, cuts = response
    text = text[:length]
    content, parsed_calls, parser = parse(call_format, text, [cut for cut in cuts if cut <= len(text)])
    assert (content, parsed_calls) == parse(call_format, text, range(len(text)))[:2]
    if parser.is_calling:
        assert content == expected_content
    assert text.startswith(content)
    assert [call[:2] for call in parsed_calls] == [call[:2] for call in expected[: len(parsed_calls)]]
    for (_, _, prefix), (_, _, arguments) in zip(parsed_calls, expected, strict=False):
        assert arguments.startswith(prefix.removesuffix("\ufffd"))
    if parser.is_complete:
        *_, (_, _, arguments) = parsed_calls
        expected_arguments = expected[len(parsed_calls) - 1][2]
        # A raw input may contain the closing. Cut after it, the text is that of a complete call with a shorter input.
        is_closed_early = expected_arguments.startswith(f"{arguments}{RAW_CLOSING}{call_format.closing}")
        assert arguments == expected_arguments or is_closed_early


@quick
@given(inputs, st.lists(st.integers(0, 40), max_size=5))
def test_content_with_a_response_format_may_contain_the_marker(text, cuts):
    call_format = tool_call_formats.load_format("hermes")
    content = json.dumps({"a": text + call_format.marker})
    cuts = [cut for cut in cuts if cut <= len(content)]
    assert parse(call_format, content, cuts, anywhere=False)[:2] == (content, [])
    call = call_format.marker + "\n" + call_text(call_format, NOW, {}, False) + call_format.closing
    assert parse(call_format, call, cuts, anywhere=False)[:2] == ("", [("get", "function", "{}")])


@pytest.mark.parametrize(
    ("written", "means"),
    [(r"\ud83d\ude9a!", "🚚!"), (r"\n\t\"\\\/", '\n\t"\\/'), (r"\ud83dx", "\ufffdx"), (r"\ude9a", "\ufffd"),
     (r"\u4f60", "你"), (r"\ud83d", "\ufffd")],
)  # fmt: skip
def test_json_escapes_of_a_custom_input_are_decoded(written, means):
    call_format = tool_call_formats.load_format("hermes")
    text = f'<tool_call>\n{{"name": "note", "arguments": {{"input": "{written}"}}}}\n</tool_call>'
    for cuts in (range(len(text)), []):
        assert parse(call_format, text, cuts)[1] == [("note", "custom", means)]


# Grammars


def sample_tokens(grammar, tokenizer, seed, max_tokens=2500, ends=0.5):
    """Sample uniformly from the allowed tokens. Where the response may end, it ends with probability `ends`."""
    rng, state, ids = random.Random(seed), grammar.start(), []
    while len(ids) < max_tokens and not state.is_complete:
        token_mask = state.token_mask().nonzero()[0]
        assert len(token_mask), "a token is always allowed"
        stops = [id for id in token_mask if id in tokenizer.stop_ids]
        if stops and (len(token_mask) == 1 or rng.random() < ends):
            return ids, True
        token = int(rng.choice([id for id in token_mask if id not in tokenizer.stop_ids]))
        state.accept(token)
        ids.append(token)
    return ids, state.is_complete


def decode_all(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=False)


def check_arguments(tool, kind, arguments):
    assert kind == tool.kind
    if tool.kind == "function":
        jsonschema.validate(json.loads(arguments), tool.schema)
    elif tool is CODE:
        assert re.fullmatch(CODE.grammar, arguments)


@each_format
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("parallel", [True, False])
def test_sampled_forced_calls_are_valid(tokenizer_for, name, seed, parallel):
    tokenizer, call_format = tokenizer_for(name), tool_call_formats.load_format(name)
    bounded = [WEATHER, NOW, CODE, SUM]
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, call_format, bounded, forced=True, parallel=parallel
    )
    ids, ended = sample_tokens(grammar, tokenizer, seed)
    assert ended
    content, parsed_calls, parser = parse(call_format, decode_all(tokenizer, ids), [])
    assert content == ""
    assert parser.is_complete
    assert len(parsed_calls) == 1 or parallel
    tools = {tool.name: tool for tool in bounded}
    for called_tools, kind, arguments in parsed_calls:
        check_arguments(tools[called_tools], kind, arguments)


def accepts(grammar, tokenizer, text):
    """Whether the grammar accepts the text, and whether the response may end after it."""
    state = grammar.start()
    for id in tokenizer.encode(text, allow_special=True):
        if state.is_complete or not state.token_mask()[id]:
            return False, False
        state.accept(id)
    return True, state.is_complete or any(state.token_mask()[list(tokenizer.stop_ids)])


def sample_call(call_format, tool=WEATHER, arguments=None):
    return call_text(call_format, tool, {"city": "Rome", "days": 2} if arguments is None else arguments, False)


def join_calls(call_format, *bodies):
    return call_format.marker + call_format.openings[0] + call_format.separator.join(bodies) + call_format.closing


@each_format
def test_auto_allows_text_and_valid_calls_only(tokenizer_for, name):
    tokenizer, call_format = tokenizer_for(name), tool_call_formats.load_format(name)
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, call_format, TOOLS, forced=False, parallel=True
    )
    call = sample_call(call_format)
    assert accepts(grammar, tokenizer, "Hello, you 你好\n") == (True, True)
    assert accepts(grammar, tokenizer, join_calls(call_format, call, call)) == (
        call_format.parallel_calls,
        call_format.parallel_calls,
    )
    assert accepts(grammar, tokenizer, join_calls(call_format, call)[:-1]) == (True, False)
    if call_format.marker:
        assert accepts(grammar, tokenizer, "Hello\n" + join_calls(call_format, call)) == (True, True)
        assert accepts(grammar, tokenizer, f"a {call_format.marker} b") == (False, False)
    wrong = sample_call(call_format, arguments={"city": "Rome", "days": 8})
    assert accepts(grammar, tokenizer, join_calls(call_format, wrong)) == (False, False)
    assert accepts(grammar, tokenizer, join_calls(call_format, sample_call(call_format, Tool("other"), {}))) == (
        False,
        False,
    )


@each_format
def test_forced_single_and_allowed_tools_are_enforced(tokenizer_for, name):
    tokenizer, call_format = tokenizer_for(name), tool_call_formats.load_format(name)
    grammars, call = GrammarCompiler(tokenizer), sample_call(call_format)
    single = build_tool_call_grammar(grammars, tokenizer, call_format, [WEATHER], forced=True, parallel=False)
    assert accepts(single, tokenizer, "Hello") == (False, False)
    assert accepts(single, tokenizer, join_calls(call_format, call)) == (True, True)
    assert accepts(single, tokenizer, join_calls(call_format, call, call)) == (False, False)
    assert accepts(single, tokenizer, join_calls(call_format, sample_call(call_format, NOW, {}))) == (
        False,
        False,
    )
    several = build_tool_call_grammar(grammars, tokenizer, call_format, [WEATHER, SUM], forced=True, parallel=True)
    raw = sample_call(call_format, SUM, "1+2")
    assert accepts(several, tokenizer, join_calls(call_format, call, call, raw)) == (
        call_format.parallel_calls,
        call_format.parallel_calls,
    )
    assert accepts(several, tokenizer, join_calls(call_format, raw)) == (True, True)
    assert accepts(several, tokenizer, join_calls(call_format, raw, call)) == (False, False), (
        "nothing follows a raw input"
    )


@pytest.mark.parametrize("name", ["hermes", "mistral"])
def test_with_a_response_format_a_response_follows_it_or_calls(tokenizer_for, name):
    tokenizer, call_format = tokenizer_for(name), tool_call_formats.load_format(name)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, call_format, [NOW], forced=False, parallel=True, content=schema
    )
    assert accepts(grammar, tokenizer, '{"a": 1}') == (True, True)
    assert accepts(grammar, tokenizer, join_calls(call_format, sample_call(call_format, NOW, {}))) == (
        True,
        True,
    )
    assert accepts(grammar, tokenizer, "Hello") == (False, False)


def test_white_space_in_arguments_is_bounded(tokenizer_for):
    tokenizer, call_format = tokenizer_for("plain"), tool_call_formats.load_format("hermes")
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, call_format, [WEATHER], forced=True, parallel=False
    )
    assert accepts(grammar, tokenizer, join_calls(call_format, sample_call(call_format)).replace('": 2', '":  2')) == (
        False,
        False,
    )


@pytest.mark.parametrize(
    ("tool", "param", "says"),
    [
        (Tool("f", "tools[1].function.parameters", schema={"type": "object", "unevaluatedProperties": 1}),
         "tools[1].function.parameters", "unevaluated"),
        (Tool("f", "here", kind="custom", syntax="regex", grammar="("), "here", "cannot be enforced"),
        (Tool("f", "here", kind="custom", syntax="regex", grammar="a)|(b"), "here", "cannot be enforced"),
        (Tool("f", "here", kind="custom", syntax="lark", grammar="nonsense"), "here", "cannot be enforced"),
        (Tool("f", "here", schema={"properties": {"a": {"not": {}}}}), "here", "here.properties.a.not"),
    ],
)  # fmt: skip
def test_an_unsupported_schema_is_rejected_with_the_field_of_the_tool(tokenizer_for, tool, param, says):
    tokenizer = tokenizer_for("plain")
    with pytest.raises(InvalidParameter, match=says) as error:
        build_tool_call_grammar(
            GrammarCompiler(tokenizer),
            tokenizer,
            tool_call_formats.load_format("hermes"),
            [NOW, tool],
            forced=False,
            parallel=True,
        )
    assert error.value.param == param


def test_a_marker_that_is_an_added_token_but_not_special_is_supported(made_tokenizer):
    tokenizer = Tokenizer(made_tokenizer(["<|im_end|>"]), {"eos_token": "<|im_end|>"}, HERMES)
    tokenizer.backend.add_tokens(["<tool_call>", "</tool_call>"])
    tokenizer = Tokenizer(tokenizer.backend, tokenizer.special_tokens_map, HERMES)
    call_format = tool_call_formats.load_format("hermes")
    text = "So\n" + join_calls(call_format, sample_call(call_format))
    assert tokenizer.token_to_id("<tool_call>") in tokenizer.encode(text)
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, call_format, [WEATHER], forced=False, parallel=True
    )
    assert accepts(grammar, tokenizer, text) == (True, True)
    assert tokenizer.decode(tokenizer.encode(text)) == text, "it is shown, so it is read"


@pytest.mark.parametrize(
    "attack",
    [
        [Tool(f"t{i}", kind="custom", syntax="regex", grammar=f"(a{{1000}}b{i}){{900}}") for i in range(128)],
        [*(Tool(f"t{i}", kind="custom", syntax="regex", grammar=f"(a{{1000}}b{i}){{900}}") for i in range(127)),
         Tool("wrong", schema={"type": "nope"})],
        [Tool(f"t{i}", kind="custom", syntax="lark", grammar=f'start: a\na: a a | "{i}"') for i in range(128)],
    ],
)  # fmt: skip
@pytest.mark.costly
def test_hostile_tools_are_fast_or_rejected(tokenizer_for, attack):
    tokenizer = tokenizer_for("plain")
    grammars = GrammarCompiler(tokenizer)
    grammars.compile_regex("warm up", "x")
    start_time = time.thread_time()
    with suppress(InvalidParameter):
        build_tool_call_grammar(
            grammars, tokenizer, tool_call_formats.load_format("hermes"), attack, forced=False, parallel=True
        )
    assert time.thread_time() - start_time < 10


@pytest.mark.parametrize("name", ["plain", "hermes", "mistral"])
def test_forced_text_has_the_ids_of_the_tokenizer(tokenizer_for, name):
    tokenizer = tokenizer_for(name)
    tokens = LLGuidanceTokenizer(tokenizer, Vocabulary(tokenizer))
    for text in ('\n{"name": "get_weather", "arguments": ', "Hello, how are you? 你好", "\n</tool_call>"):
        assert tokens(text.encode()) == tokenizer.encode(text)
    cut = "你".encode()[:2]
    assert b"".join(tokens.tokens[id] for id in tokens(cut)) == cut
