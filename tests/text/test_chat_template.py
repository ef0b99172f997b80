"""Templates render as in transformers, and hostile templates are rejected with little time and memory."""

import contextlib
import resource
import time

import jinja2
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import TemplateError
from turnwise.text.chat_templates import render_budget as budget
from turnwise.text.chat_templates import sandbox
from turnwise.text.chat_templates.chat_template import MAX_TEMPLATE_CHARACTERS, apply_chat_template

MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
LOOP = "{% for i in range(60) %}"
BIG = "{% set ns = namespace(x='ab', l=[]) %}{% for i in range(21) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"


def doubling(expression, first="'ab'"):
    return f"{{% set ns = namespace(x={first}) %}}{LOOP}{{% set ns.x = {expression} %}}{{% endfor %}}"


ATTACKS = {
    # endless
    "nested loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "filtered loops": "{% for i in range(100000) if i %}{% for j in range(100000) if j < 0 %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for i in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "wide recursive loop": "{% for i in range(100000) recursive %}{{ loop(range(100000)) }}{% endfor %}",
    "branching macro": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "endless macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "endless block": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "huge range": "{{ range(1000000000) | list }}",
    "loop over text": BIG + "{% for a in ns.x %}{% endfor %}",
    # huge numbers
    "power": "{{ 10 ** 1000000000 }}",
    "squaring": doubling("ns.x * ns.x", "10"),
    "rounding": "{{ 5 | round(-1000000000) }}",
    "rounding up": "{{ 5 | round(1000000000, 'ceil') }}",
    # long text
    "repeated text": "{{ 'x' * 1000000000 }}",
    "repeated list": "{{ [1] * 1000000000 }}",
    "repeated messages": "{{ messages * 100000000 }}",
    "tilde": doubling("ns.x ~ ns.x"),
    "plus": doubling("ns.x + ns.x"),
    "join filter": doubling("[ns.x, ns.x] | join"),
    "join method": doubling("ns.x.join([ns.x, ns.x, ns.x])"),
    "join with a long separator": BIG + "{{ range(100000) | join(ns.x) }}",
    "replace filter": doubling("ns.x | replace('a', ns.x)"),
    "replace method": doubling("ns.x.replace('', ns.x)"),
    "set block": doubling("ns.x")
    + LOOP + "{% set t %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = t %}{% endfor %}",
    "macro's text": "{% macro m() %}{% for i in range(100000) %}" + "x" * 9000 + "{% endfor %}{% endmacro %}{{ m() }}",
    "long rendering": "{% for i in range(100000) %}" + "x" * 9000 + "{% endfor %}",
    "many at once": BIG + "{{ " + " ~ ".join(["ns.x"] * 2000) + " }}",
    "many in a row": BIG + "{% set t %}" + "{{ ns.x }}" * 2000 + "{% endset %}",
    "center filter": "{{ 'x' | center(1000000000) }}",
    "center method": "{{ 'x'.center(1000000000) }}",
    "ljust": "{{ 'x'.ljust(1000000000) }}",
    "ljust as an item": "{{ 'x'['ljust'](1000000000) }}",
    "ljust under a name": "{% set f = 'x'.ljust %}{{ f(1000000000) }}",
    "ljust by map": "{{ (['x'] | map(attribute='ljust') | first)(1000000000) }}",
    "zfill": "{{ 'x'.zfill(1000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(1000000000) }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "safe percent": "{{ ('%1000000000d' | safe) % 1 }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "format method": "{{ '{:1000000000}'.format(1) }}",
    "safe format method": "{{ ('{:1000000000}' | safe).format(1) }}",
    "format_map": "{{ '{x:1000000000}'.format_map({'x': 1}) }}",
    "wide indent": "{{ 'a\nb' | indent(1000000000, true) }}",
    "long indent": BIG + "{{ 'a\nb\nc\nd\ne\nf' | indent(ns.x) }}",
    "wide JSON": "{{ [1, 2] | tojson(indent=1000000000) }}",
    "JSON with long separators": BIG + "{{ [1, 2, 3, 4, 5, 6] | tojson(separators=(ns.x, '')) }}",
    "batch": "{{ [1] | batch(1000000000, 'x') | list }}",
    "slice": "{{ [1] | slice(1000000000) | list }}",
    "lipsum": "{{ lipsum(100000000) }}",
    "to_bytes": "{{ (5).to_bytes(1000000000, 'big') }}",
    "time format": "{{ strftime_now('%1000000000d' ~ 'x' * 1000) }}",
    # small in memory, huge as text
    "list of lists": doubling("[ns.x, ns.x]", "['ha']") + "{{ ns.x }}",
    "tuples": doubling("(ns.x, ns.x)", "['ha']") + "{{ ns.x == ns.x }}",
    "dicts": doubling("dict(a=ns.x, b=ns.x)", "{}") + "{{ ns.x | tojson }}",
    "dict items": doubling("{'a': ns.x.items(), 'b': ns.x.items()}", "{'a': 1}") + "{{ ns.x }}",
    "list plus": doubling("ns.x + ns.x", "['ha']"),
    "grouped": doubling("[{'k': 1, 'v': ns.x}, {'k': 1, 'v': ns.x}] | groupby('k')", "[1]"),
    "macro arguments": doubling("ns.x", "[1]")
    + "{% macro m() %}{% set ns.x = varargs %}{% endmacro %}" + LOOP + "{{ m(ns.x, ns.x) }}{% endfor %}{{ ns.x }}",
    "deep list": "{% set n = namespace(x=1) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
    # accumulated memory
    "slices": BIG + "{% for i in range(99999) %}{% set ns.l = ns.l + [ns.x[1:]] %}{% endfor %}",
    "nested copies": BIG + "{% for i in range(99999) %}{% set ns.l = [ns.l, ns.x | upper] %}{% endfor %}",
    "split text": BIG + "{% for i in range(99999) %}{% set ns.l = ns.x.split('a') %}{% endfor %}",
    "listed text": BIG + "{% for i in range(99999) %}{% set ns.l = ns.x | list %}{% endfor %}",
    # slow
    "searching": BIG + "{% for i in range(99999) %}{% if 'abc' in ns.x %}{% endif %}{% endfor %}",
    "searching without a loop": BIG + "{% if 'abc' in ns.x %}{% endif %}" * 2500,
    "searching in a filter": BIG + "{{ range(100000) | map('string') | select('in', ns.x) | list | length }}",
    # out of the sandbox
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "format of a class": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "attr filter": "{{ messages | attr('__class__') }}",
    "frame": "{{ (messages | map('upper')).gi_frame.f_builtins }}",
    "context": "{{ self._TemplateReference__context.environment }}",
    "dict class": "{{ dict.fromkeys.__self__ }}",
    "namespace attribute": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "new namespace attribute": "{{ namespace(__call__=1) }}",
    "append": "{{ messages.append(1) }}",
    "update": "{{ messages[0].update({'role': 'system'}) }}",
    "include": "{% include 'x' %}",
    "import": "{% import 'x' as y %}",
    "extends": "{% extends 'x' %}",
    # hard to parse
    "deep brackets": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "deep list literal": "{{ " + "[" * 20000 + "]" * 20000 + " }}",
    "deep loops": "{% for i in [1] %}" * 40 + "{% endfor %}" * 40,
    "long sum": "{{ " + "1+" * 20000 + "1 }}",
    "long number": "{{ " + "9" * 90000 + " }}",
    "long template": "x" * (MAX_TEMPLATE_CHARACTERS + 1),
    "constants folded while compiling": "{{ 'aaaaaaaaaaaaaaaa' | replace('a', '" + "b" * 90000 + "') * 90000 }}",
    # errors
    "syntax": "{% for %}",
    "undefined": "{{ nope.nope }}",
    "type": "{{ 1 + 'a' }}",
    "division": "{{ 1 / 0 }}",
    "raise_exception": "{{ raise_exception('not so') }}",
}  # fmt: skip


def render(template, messages=MESSAGES, **variables):
    return apply_chat_template(template, messages, variables=variables, add_generation_prompt=False)


@pytest.fixture
def memory_limit():
    """Limits the memory to two gigabytes more than now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_rejected_with_little_time_and_memory(name, memory_limit, monkeypatch):
    monkeypatch.setattr(budget, "MAX_SECONDS", 0.5)
    monkeypatch.setattr(budget, "MAX_STEPS", 100_000)
    started = time.thread_time()
    with pytest.raises(TemplateError) as caught:
        render(ATTACKS[name])
    assert time.thread_time() - started < 5
    assert len(str(caught.value)) < 500
    assert not isinstance(caught.value.__cause__, MemoryError), "the budget must stop it before the memory limit"
    assert MESSAGES == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nested loops", "branching macro", "searching", "searching in a filter"])
def test_the_default_limits_stop_endless_templates(name):
    started = time.thread_time()
    with pytest.raises(TemplateError, match="did not finish"):
        render(ATTACKS[name])
    assert time.thread_time() - started < 4 * budget.MAX_SECONDS


def test_a_dialogue_of_a_million_characters_is_within_the_limits():
    template = (
        "{% set ns = namespace(n=0, text='') %}{% for m in messages %}{% set c = m.content.split('</think>')[-1] %}"
        "{% set ns.n = ns.n + 1 %}{% if m.role != 'tool' and 'x' not in c %}{{ '<' ~ m.role ~ '>\n' + c | trim }}"
        "{% endif %}{% endfor %}{{ messages | tojson | length }}"
    )
    started = time.thread_time()
    assert len(render(template, [{"role": "user", "content": "ab " * 100}] * 3500)) > 1_000_000
    assert time.thread_time() - started < 2


EXPRESSIONS = [
    "{{ messages | length }} {{ messages | tojson }} {{ messages[0] | tojson(indent=2) }}",
    "{{ messages[1:] | map(attribute='content') | join(', ') }}{{ ['b', 'a'] | sort | join }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ loop.revindex0 }}{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.length }}{% else %}none{% endfor %}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0] | items | list }}",
    "{% for a in [[1, [2]], [3]] recursive %}{{ loop(a) if a is iterable else a }}{% endfor %}",
    "{% set ns = namespace(a=[]) %}{% for m in messages %}{% set ns.a = ns.a + [m.role] %}{% endfor %}{{ ns.a }}",
    "{% macro show(x, y=2) %}{{ x }}-{{ y }}-{{ varargs }}-{{ kwargs }}{% endmacro %}{{ show(1, 2, 3, z=4) }}",
    "{% macro twice() %}{{ caller() }}{{ caller() }}{% endmacro %}{% call twice() %}x{% endcall %}",
    "{% filter upper %}abc{% endfilter %}{% set t %}a{{ 1 }}{% endset %}{{ t ~ t }}",
    "{{ 'a-b-c'.split('-')[::-1] }} {{ 'x'.join(['a', 'b']) }} {{ 'aXb'.replace('X', 'yy', 1) }}",
    "{{ '=' * 10 }} {{ 7 % 3 }} {{ 7 // 2 }} {{ 2 * 3.5 }} {{ -1 }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1, 2) }}",
    "{{ 'a' in 'abc' }} {{ 1 < 2 <= 2 }} {{ x is defined }} {{ none is none }} {{ 'A' is upper }} {{ 3 is odd }}",
    "{{ x }}|{{ none }}|{{ true }}|{{ {'a': 1}.get('b', 3) }}|{{ {'a': 1} }}",
    "{{ '  a\n  b' | indent(4) }} {{ ' a ' | trim }} {{ 'abc' | first }}{{ [1, 2] | last }} {{ 'b' | default('c') }}",
    "{{ 3.14159 | round(2) }} {{ '5' | int + 1 }} {{ [3, 1] | max }} {{ 'a b' | title }} {{ 'x' | string }}",
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content }}{% break %}{% endfor %}",
    "{% generation %}{% set a = 1 %}{{ a }}{% endgeneration %}{{ a }}",
    "{{ dict(a=1) }} {{ cycler('a', 'b').next() }} {% set j = joiner(', ') %}{{ j() }}a{{ j() }}b",
    "  {%- if true %}  \n  x {%- endif %}\n   {% if true %}\n y\n {% endif %}\n",
    "{{ messages[0]['content'] ~ messages[1].content ~ 1 ~ none }}{# a comment #}{{ 'é<&>' | tojson }}",
    "{{ strftime_now('%Y') | int > 2000 }} {{ range(3) | list }} {{ '%' }} {{ 'é' | e }}",
]


@pytest.mark.parametrize("template", EXPRESSIONS)
def test_templates_render_as_in_transformers(template):
    environment = transformers.utils.chat_template_utils._compile_jinja_template(template)
    expected = environment.render(messages=MESSAGES, tools=None, documents=None, add_generation_prompt=False)
    assert render(template) == expected


def test_the_error_of_a_template_is_reported():
    with pytest.raises(TemplateError, match="rejects these messages: not so"):
        render("{{ raise_exception('not so') }}")
    with pytest.raises(TemplateError, match="error in line 2"):
        render("\n{% endfor %}")


@settings(max_examples=200, deadline=None)
@given(st.text("{}%#-[]()'\"|~+*. \nabcifforsetinendmacro01", max_size=60))
def test_any_template_renders_or_raises_a_template_error(source):
    with contextlib.suppress(TemplateError):
        assert isinstance(render(source), str)


@pytest.mark.costly
def test_concurrent_renderings_have_separate_budgets():
    from concurrent.futures import ThreadPoolExecutor

    template = "{% for i in range(40000) %}{% endfor %}{{ messages[0].content }}"
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda i: render(template, [{"role": "user", "content": str(i)}]), range(40)))
    assert texts == [str(i) for i in range(40)]


def test_filters_of_jinja_that_are_not_allowed_are_listed():
    """Filters of a new Jinja version are not allowed before their bounds are examined."""
    environment = sandbox.TemplateEnvironment()
    omitted = set(jinja2.filters.FILTERS) - set(environment.filters)
    assert omitted == {
        "attr", "batch", "center", "filesizeformat", "forceescape", "format", "pprint", "random", "slice", "striptags",
        "sum", "urlencode", "urlize", "wordwrap", "xmlattr",
    }  # fmt: skip
