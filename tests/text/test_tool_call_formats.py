"""Every dialect: its grammar lets nothing but right calls through, and its text is read back as what was written."""

import json
import random
import re
import time
from contextlib import suppress
from itertools import pairwise

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_templates import HERMES, LLAMA, MISTRAL, SPECIAL, TAGS

from turnwise.core.errors import InvalidParameter
from turnwise.core.tools import Tool
from turnwise.text import tool_call_formats as dialects
from turnwise.text.constraints.grammar_compiler import GrammarCompiler
from turnwise.text.constraints.tool_call_grammar import build_tool_call_grammar
from turnwise.text.streaming.tool_call_parser import ToolCallParser
from turnwise.text.tokenization.llguidance_tokenizer import LLGuidanceTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import Vocabulary

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
each = pytest.mark.parametrize("name", dialects.TOOL_CALL_FORMATS.names())

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
    """The tokenizer that goes with a dialect: Mistral's has the marker as a special token."""
    made = {"plain": tokenizer}

    def get(name):
        if name not in made:
            template, special, named = SPECIAL[name]
            made[name] = Tokenizer(made_tokenizer(special), named, template)
        return made[name]

    return get


# Detection


def test_the_format_of_a_template_is_detected():
    assert dialects.TOOL_CALL_FORMATS.names() == ("hermes", "llama", "mistral")
    for name, template in {"hermes": HERMES, "llama": LLAMA, "mistral": MISTRAL}.items():
        assert dialects.detect_format(template) == dialects.load_format(name)


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
def test_a_template_without_tools_or_with_other_calls_speaks_none(template):
    assert dialects.detect_format(template) is None


# Reading

inputs = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
awkward = st.sampled_from(['"}', "</tool_call>", "{[", "\\", "]; "])
values = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.none(), inputs, awkward),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(inputs, inner, max_size=3)),
    max_leaves=5,
)
calls = st.one_of(
    st.tuples(st.just(WEATHER), st.dictionaries(inputs, values, max_size=3)),
    st.tuples(st.just(NOW), st.just({})),
    st.tuples(st.just(TEXT), inputs),
)
raws = st.tuples(st.just(SUM), st.sampled_from(["1+2", "", "\n}", "\n}\n</tool_call>", "}]", "}\n}", "}]}"]))
said = st.one_of(
    st.sampled_from(["", "Hello", "a < b", "<tool", "\n\n", "</tool_call>", "[TOOL", "\n<tool_cal", "x\n"]), inputs
)


def call_text(tool_call_format, tool, arguments, ascii):
    if tool is SUM:
        return f'{{"name": "sum", "{tool_call_format.arguments_key}": \n{arguments}\n}}'
    value = {"input": arguments} if tool.kind == "custom" else arguments
    return f'{{"name": "{tool.name}", "{tool_call_format.arguments_key}": {json.dumps(value, ensure_ascii=ascii)}}}'


def arguments_of(tool, arguments, ascii):
    return arguments if tool.kind == "custom" else json.dumps(arguments, ensure_ascii=ascii)


def read(tool_call_format, text, cuts, **options):
    """Content, calls as (name, kind, arguments), the splitter, and all pieces."""
    splitter = ToolCallParser(tool_call_format, TOOLS, **options)
    content, found, places = "", [], [0, *sorted(cuts), len(text)]
    for start, end in pairwise(places):
        more, pieces = splitter.push(text[start:end])
        assert not (more and found), "nothing is said after a call"
        content += more
        for piece in pieces:
            if piece.name is not None:
                assert (piece.index, piece.arguments) == (len(found), "")
                found.append([piece.name, piece.kind, ""])
            else:
                assert piece.arguments
                assert piece.index == len(found) - 1
                found[-1][2] += piece.arguments
    return content + splitter.flush(), [tuple(call) for call in found], splitter


@st.composite
def answers(draw):
    """An answer in every dialect's form, what it means, and where to cut it."""
    tool_call_format = dialects.load_format(draw(st.sampled_from(dialects.TOOL_CALL_FORMATS.names())))
    content = draw(said).replace(tool_call_format.marker or "\0", "").lstrip("{")
    called = draw(st.lists(calls, max_size=3)) + draw(st.lists(raws, max_size=1))
    ascii = draw(st.booleans())
    if not tool_call_format.marker and called:
        content = ""
    text, meant = content, content
    if called:
        if tool_call_format.marker and draw(st.booleans()):
            text += "\n"
        else:
            meant = content.removesuffix("\n") if tool_call_format.marker else content
        bodies = [call_text(tool_call_format, *call, ascii) for call in called]
        opening = draw(st.sampled_from(tool_call_format.openings))
        text += f"{tool_call_format.marker}{opening}{tool_call_format.separator.join(bodies)}{tool_call_format.closing}"
    expected = [(tool.name, tool.kind, arguments_of(tool, arguments, ascii)) for tool, arguments in called]
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=8))
    return tool_call_format, text, meant, expected, cuts


@quick
@given(answers())
def test_an_answer_is_read_as_it_was_meant_wherever_it_is_cut(answer):
    tool_call_format, text, meant, expected, cuts = answer
    for places in (cuts, range(len(text)), []):
        content, found, splitter = read(tool_call_format, text, places)
        assert (content, found) == (meant, expected)
        assert splitter.is_complete == bool(expected)


@quick
@given(answers(), st.integers(0, 200))
def test_an_answer_that_breaks_off_gives_a_beginning_of_it_and_never_a_marker(answer, length):
    tool_call_format, text, meant, expected, cuts = answer
    text = text[:length]
    content, found, splitter = read(tool_call_format, text, [cut for cut in cuts if cut <= len(text)])
    assert (content, found) == read(tool_call_format, text, range(len(text)))[:2]
    if splitter.is_calling:
        assert content == meant
    assert text.startswith(content)
    assert [call[:2] for call in found] == [call[:2] for call in expected[: len(found)]]
    for (_, _, part), (_, _, whole) in zip(found, expected, strict=False):
        assert whole.startswith(part.removesuffix("\ufffd"))
    assert splitter.is_complete <= (found == expected[: len(found)])


@quick
@given(inputs, st.lists(st.integers(0, 40), max_size=5))
def test_content_of_a_format_may_hold_the_marker(text, cuts):
    tool_call_format = dialects.load_format("hermes")
    content = json.dumps({"a": text + tool_call_format.marker})
    cuts = [cut for cut in cuts if cut <= len(content)]
    assert read(tool_call_format, content, cuts, anywhere=False)[:2] == (content, [])
    call = tool_call_format.marker + "\n" + call_text(tool_call_format, NOW, {}, False) + tool_call_format.closing
    assert read(tool_call_format, call, cuts, anywhere=False)[:2] == ("", [("get", "function", "{}")])


@pytest.mark.parametrize(
    ("written", "means"),
    [(r"\ud83d\ude9a!", "🚚!"), (r"\n\t\"\\\/", '\n\t"\\/'), (r"\ud83dx", "\ufffdx"), (r"\ude9a", "\ufffd"),
     (r"\u4f60", "你"), (r"\ud83d", "\ufffd")],
)  # fmt: skip
def test_escapes_of_a_custom_input_mean_characters(written, means):
    tool_call_format = dialects.load_format("hermes")
    text = f'<tool_call>\n{{"name": "note", "arguments": {{"input": "{written}"}}}}\n</tool_call>'
    for cuts in (range(len(text)), []):
        assert read(tool_call_format, text, cuts)[1] == [("note", "custom", means)]


# Writing


def wander(grammar, tokenizer, seed, most=2500, ends=0.5):
    """Tokens drawn evenly from what is allowed; at a place where it may end, it does so half of the times."""
    rng, state, ids = random.Random(seed), grammar.start(), []
    while len(ids) < most and not state.is_complete:
        token_mask = state.token_mask().nonzero()[0]
        assert len(token_mask), "something may always follow"
        stops = [id for id in token_mask if id in tokenizer.stop_ids]
        if stops and (len(token_mask) == 1 or rng.random() < ends):
            return ids, True
        token = int(rng.choice([id for id in token_mask if id not in tokenizer.stop_ids]))
        state.accept(token)
        ids.append(token)
    return ids, state.is_complete


def shown(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=False)


def check(tool, kind, arguments):
    assert kind == tool.kind
    if tool.kind == "function":
        jsonschema.validate(json.loads(arguments), tool.schema)
    elif tool is CODE:
        assert re.fullmatch(CODE.grammar, arguments)


@each
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("parallel", [True, False])
def test_forced_calls_are_right_whatever_is_drawn(tokenizer_for, name, seed, parallel):
    tokenizer, tool_call_format = tokenizer_for(name), dialects.load_format(name)
    bounded = [WEATHER, NOW, CODE, SUM]
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, tool_call_format, bounded, forced=True, parallel=parallel
    )
    ids, ended = wander(grammar, tokenizer, seed)
    assert ended
    content, found, splitter = read(tool_call_format, shown(tokenizer, ids), [])
    assert content == ""
    assert splitter.is_complete
    assert len(found) == 1 or parallel
    tools = {tool.name: tool for tool in bounded}
    for called, kind, arguments in found:
        check(tools[called], kind, arguments)


def follows(grammar, tokenizer, text):
    """Whether the text is in the grammar, and whether it may end there."""
    state = grammar.start()
    for id in tokenizer.encode(text, allow_special=True):
        if state.is_complete or not state.token_mask()[id]:
            return False, False
        state.accept(id)
    return True, state.is_complete or any(state.token_mask()[list(tokenizer.stop_ids)])


def one_call(tool_call_format, tool=WEATHER, arguments=None):
    return call_text(tool_call_format, tool, {"city": "Rome", "days": 2} if arguments is None else arguments, False)


def answer(tool_call_format, *bodies):
    return (
        tool_call_format.marker
        + tool_call_format.openings[0]
        + tool_call_format.separator.join(bodies)
        + tool_call_format.closing
    )


@each
def test_auto_allows_talk_and_calls_but_no_other_marker(tokenizer_for, name):
    tokenizer, tool_call_format = tokenizer_for(name), dialects.load_format(name)
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, tool_call_format, TOOLS, forced=False, parallel=True
    )
    call = one_call(tool_call_format)
    assert follows(grammar, tokenizer, "Hello, you 你好\n") == (True, True)
    assert follows(grammar, tokenizer, answer(tool_call_format, call, call)) == (
        tool_call_format.parallel_calls,
        tool_call_format.parallel_calls,
    )
    assert follows(grammar, tokenizer, answer(tool_call_format, call)[:-1]) == (True, False)
    if tool_call_format.marker:
        assert follows(grammar, tokenizer, "Hello\n" + answer(tool_call_format, call)) == (True, True)
        assert follows(grammar, tokenizer, f"a {tool_call_format.marker} b") == (False, False)
    wrong = one_call(tool_call_format, arguments={"city": "Rome", "days": 8})
    assert follows(grammar, tokenizer, answer(tool_call_format, wrong)) == (False, False)
    assert follows(grammar, tokenizer, answer(tool_call_format, one_call(tool_call_format, Tool("other"), {}))) == (
        False,
        False,
    )


@each
def test_forced_means_a_call_single_means_one_and_allowed_means_these(tokenizer_for, name):
    tokenizer, tool_call_format = tokenizer_for(name), dialects.load_format(name)
    grammars, call = GrammarCompiler(tokenizer), one_call(tool_call_format)
    single = build_tool_call_grammar(grammars, tokenizer, tool_call_format, [WEATHER], forced=True, parallel=False)
    assert follows(single, tokenizer, "Hello") == (False, False)
    assert follows(single, tokenizer, answer(tool_call_format, call)) == (True, True)
    assert follows(single, tokenizer, answer(tool_call_format, call, call)) == (False, False)
    assert follows(single, tokenizer, answer(tool_call_format, one_call(tool_call_format, NOW, {}))) == (False, False)
    several = build_tool_call_grammar(grammars, tokenizer, tool_call_format, [WEATHER, SUM], forced=True, parallel=True)
    raw = one_call(tool_call_format, SUM, "1+2")
    assert follows(several, tokenizer, answer(tool_call_format, call, call, raw)) == (
        tool_call_format.parallel_calls,
        tool_call_format.parallel_calls,
    )
    assert follows(several, tokenizer, answer(tool_call_format, raw)) == (True, True)
    assert follows(several, tokenizer, answer(tool_call_format, raw, call)) == (False, False), (
        "nothing follows a raw input"
    )


@pytest.mark.parametrize("name", ["hermes", "mistral"])
def test_with_a_format_an_answer_follows_it_or_calls(tokenizer_for, name):
    tokenizer, tool_call_format = tokenizer_for(name), dialects.load_format(name)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, tool_call_format, [NOW], forced=False, parallel=True, content=schema
    )
    assert follows(grammar, tokenizer, '{"a": 1}') == (True, True)
    assert follows(grammar, tokenizer, answer(tool_call_format, one_call(tool_call_format, NOW, {}))) == (True, True)
    assert follows(grammar, tokenizer, "Hello") == (False, False)


def test_white_space_in_arguments_is_bounded(tokenizer_for):
    tokenizer, tool_call_format = tokenizer_for("plain"), dialects.load_format("hermes")
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, tool_call_format, [WEATHER], forced=True, parallel=False
    )
    assert follows(
        grammar, tokenizer, answer(tool_call_format, one_call(tool_call_format)).replace('": 2', '":  2')
    ) == (False, False)


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
def test_what_cannot_be_enforced_names_the_tool(tokenizer_for, tool, param, says):
    tokenizer = tokenizer_for("plain")
    with pytest.raises(InvalidParameter, match=says) as error:
        build_tool_call_grammar(
            GrammarCompiler(tokenizer),
            tokenizer,
            dialects.load_format("hermes"),
            [NOW, tool],
            forced=False,
            parallel=True,
        )
    assert error.value.param == param


def test_a_marker_that_is_one_token_without_being_special_is_found(made_tokenizer):
    tokenizer = Tokenizer(made_tokenizer(["<|im_end|>"]), {"eos_token": "<|im_end|>"}, HERMES)
    tokenizer.backend.add_tokens(["<tool_call>", "</tool_call>"])
    tokenizer = Tokenizer(tokenizer.backend, tokenizer.special_tokens_map, HERMES)
    tool_call_format = dialects.load_format("hermes")
    text = "So\n" + answer(tool_call_format, one_call(tool_call_format))
    assert tokenizer.token_to_id("<tool_call>") in tokenizer.encode(text)
    grammar = build_tool_call_grammar(
        GrammarCompiler(tokenizer), tokenizer, tool_call_format, [WEATHER], forced=False, parallel=True
    )
    assert follows(grammar, tokenizer, text) == (True, True)
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
def test_hostile_tools_take_little_time_or_are_refused(tokenizer_for, attack):
    tokenizer = tokenizer_for("plain")
    grammars = GrammarCompiler(tokenizer)
    grammars.compile_regex("warm up", "x")
    began = time.thread_time()
    with suppress(InvalidParameter):
        build_tool_call_grammar(
            grammars, tokenizer, dialects.load_format("hermes"), attack, forced=False, parallel=True
        )
    assert time.thread_time() - began < 10


@pytest.mark.parametrize("name", ["plain", "hermes", "mistral"])
def test_forced_text_is_written_as_the_tokenizer_writes_it(tokenizer_for, name):
    tokenizer = tokenizer_for(name)
    tokens = LLGuidanceTokenizer(tokenizer, Vocabulary(tokenizer))
    for text in ('\n{"name": "get_weather", "arguments": ', "Hello, how are you? 你好", "\n</tool_call>"):
        assert tokens(text.encode()) == tokenizer.encode(text)
    cut = "你".encode()[:2]
    assert b"".join(tokens.tokens[id] for id in tokens(cut)) == cut
