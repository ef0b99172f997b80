"""Template grammars: expansion, typing noise, line templates and errors."""

import itertools
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.data.grammar.expand import expand
from turnwise.data.grammar.grammar_file import load_grammar, parse_grammar
from turnwise.data.grammar.line_templates import TemplateSpan, join_spans, parse_template
from turnwise.data.typing_noise import add_typing_noise, misspell

RICH = r"""
system: ["You are Turnwise.", "You are [kind|brief]."]
slots: {name: [Anna, Ben, Chloe], number: ["1", "2", "3", "4"]}
topics:
  greeting:
    start: 3
    user: ["Hello[| there]!", "Good [morning|[late |]evening], Turnwise."]
    assistant: ["Hello! How can I help?", "Good to see you."]
    then: [memory]
  joke:
    repeat: true
    then: [goodbye]
    pairs:
      - {user: ["Please tell me joke {number}."], assistant: ["Joke {number} is about a duck."]}
      - {user: ["Something funny, please!"], assistant: ["Ha!", "Ho!"]}
  memory:
    turns: [["My name is {name}.", "Nice to meet you, {name}!", "What is my name?", ["It is {name}.", "{name}!"]]]
    needs: [greeting]
  no_name:
    user: ["Do you know my name?"]
    assistant: ["You have not told me."]
    not_after: [memory]
  code:
    user: ['show me a list']
    assistant: ['xs = \[1, 2\]']
  goodbye: {user: [bye], assistant: ["Goodbye!"], start: 0, end: true}
"""


def small(**more) -> str:
    """A grammar of one topic, as YAML, with something added or replaced."""
    import yaml

    topic = {"user": ["hi"], "assistant": ["hello"], **more}
    return yaml.safe_dump({"topics": {"greeting": {key: value for key, value in topic.items() if value is not None}}})


def dialogues(seed=0, count=300, **options):
    return list(expand(parse_grammar(RICH), count, seed, **options))


class TestExpansion:
    @settings(max_examples=15, deadline=None)
    @given(st.integers(), st.floats(0, 1))
    def test_every_dialogue_alternates_and_has_no_template_syntax(self, seed, noise):
        for dialogue in dialogues(seed, 40, noise=noise):
            roles = [message.role for message in dialogue.messages]
            if roles[0] == "system":
                roles = roles[1:]
            assert roles == ["user", "assistant"] * (len(roles) // 2)
            assert 1 <= len(roles) // 2 <= 5
            for message in dialogue.messages:
                assert message.content == message.content.strip() != ""
                if message.content != "xs = [1, 2]":
                    assert not set("[]{}|") & set(message.content)

    def test_dialogues_depend_only_on_the_seed(self):
        assert dialogues(7) == dialogues(7)
        assert dialogues(7) != dialogues(8)

    def test_dialogues_are_the_same_in_every_process(self, tmp_path):
        (tmp_path / "g.yaml").write_text(RICH)
        code = (
            "import hashlib\nfrom turnwise.data.grammar.expand import expand\n"
            "from turnwise.data.grammar.grammar_file import load_grammar\n"
            f"text = repr(list(expand(load_grammar({str(tmp_path / 'g.yaml')!r}), 100, 3)))\n"
            "print(hashlib.sha256(text.encode()).hexdigest())"
        )
        runs = [
            subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True)
            for seed in ("1", "2")
        ]
        assert runs[0].stdout == runs[1].stdout != "", runs[0].stderr

    def test_a_larger_count_starts_with_the_same_dialogues(self):
        assert dialogues(count=50) == dialogues(count=100)[:50]

    def test_dialogues_are_distinct(self):
        messages = [dialogue.messages for dialogue in dialogues(count=1000)]
        assert len(set(messages)) == len(messages) == 1000

    def test_an_exhausted_grammar_stops(self):
        conversations = list(expand(parse_grammar(small(user=["hi", "hey"])), 100, 0, noise=0))
        assert sorted(dialogue.messages[0].content for dialogue in conversations) == ["hey", "hi"]

    def test_metadata_has_the_first_topic(self):
        for dialogue in dialogues():
            assert dialogue.meta["generated"] is True
            assert dialogue.meta["topic"] in {"greeting", "joke", "no_name", "code"}, "memory and goodbye never open"

    def test_about_three_in_ten_have_a_system_prompt(self):
        sample = dialogues(count=1000)
        assert 0.2 < sum(dialogue.messages[0].role == "system" for dialogue in sample) / len(sample) < 0.45

    @pytest.mark.costly
    def test_dialogues_have_one_to_five_exchanges_or_within_the_bounds(self):
        lengths = Counter(dialogue.num_turns // 2 for dialogue in dialogues(count=1000))
        assert set(lengths) == {1, 2, 3, 4, 5}
        assert {dialogue.num_turns // 2 for dialogue in dialogues(turns=(2, 3))} == {2, 3}

    def test_a_slot_keeps_its_value_throughout_a_dialogue(self):
        for dialogue in dialogues(noise=1):
            text = " ".join(message.content for message in dialogue.messages)
            assert sum(name in text for name in ("Anna", "Ben", "Chloe")) <= 1

    def test_topics_respect_repeat_needs_not_after_and_end(self):
        jokes = 0
        for dialogue in dialogues(count=1000, noise=0):
            lines = [message.content for message in dialogue.messages]
            assert lines.count("What is my name?") <= 1
            assert sum(line in ("Hello! How can I help?", "Good to see you.") for line in lines) <= 1
            if "What is my name?" in lines:
                before = lines[: lines.index("What is my name?")]
                assert {"Hello! How can I help?", "Good to see you."} & set(before), "memory needs greeting"
                assert "Do you know my name?" not in lines[lines.index("What is my name?") :], "no_name is not after it"
            if "bye" in lines:
                assert lines[-2:] == ["bye", "Goodbye!"], "nothing follows an end"
            jokes = max(jokes, sum("duck" in line or line in ("Ha!", "Ho!") for line in lines))
        assert jokes > 1

    def test_a_topic_that_never_opens_follows_a_topic_that_names_it(self):
        grammar = parse_grammar("""
slots: {n: ["1", "2", "3", "4", "5", "6", "7", "8", "9"]}
topics:
  ask: {user: ["a {n}"], assistant: ["Shall I?"], then: [agree]}
  say: {user: ["b {n}"], assistant: ["I see."]}
  agree: {user: ["yes"], assistant: ["Good."], start: 0}
""")
        conversations = [[m.content for m in d.messages] for d in expand(grammar, 20, 0, turns=(2, 2), noise=0)]
        assert any("yes" in lines for lines in conversations)
        assert all(lines[1] == "Shall I?" for lines in conversations if "yes" in lines)

    def test_topics_in_then_are_likely_to_follow(self):
        follows = Counter(
            "My name is" in after.content
            for dialogue in dialogues(count=1000, noise=0, turns=(3, 5))
            for before, after in itertools.pairwise(dialogue.messages)
            if before.content in ("Hello! How can I help?", "Good to see you.") and after.role == "user"
        )
        assert follows[True] > follows[False]

    def test_weights_change_the_share_of_a_topic(self):
        def opened(weight: float) -> float:
            grammar = parse_grammar(f"""
slots: {{n: [{", ".join(f"n{i}" for i in range(500))}]}}
topics:
  a: {{user: ["a {{n}}"], assistant: [x], weight: {weight}}}
  b: {{user: ["b {{n}}"], assistant: [x]}}
""")
            conversations = list(expand(grammar, 200, 0, turns=(1, 1), noise=0))
            return sum(dialogue.meta["topic"] == "a" for dialogue in conversations) / len(conversations)

        assert opened(0.1) < 0.2 < 0.8 < opened(10)

    @pytest.mark.parametrize("wrong", [{"turns": (0, 2)}, {"turns": (3, 2)}, {"noise": 1.5}, {"noise": -1}])
    def test_numbers_out_of_range_are_rejected_before_the_first_dialogue(self, wrong):
        with pytest.raises(InvalidParameter):
            expand(parse_grammar(RICH), 1, 0, **wrong)


class TestNoise:
    def test_only_user_turns_have_noise(self):
        clean, rough = dialogues(count=500, noise=0), dialogues(count=500, noise=0.5)
        assert {m.content for d in rough for m in d.messages if m.role == "assistant"} <= {
            m.content for d in clean for m in d.messages if m.role == "assistant"
        }
        turns = [m.content for d in rough for m in d.messages if m.role == "user"]
        clean_turns = {m.content for d in clean for m in d.messages if m.role == "user"}
        assert 0.25 < sum(turn not in clean_turns for turn in turns) / len(turns) < 0.6

    @given(st.integers())
    def test_a_slot_value_has_no_noise(self, seed):
        pieces = (TemplateSpan("My very good Friend "), TemplateSpan("ANNABELLE?", slot=True))
        assert join_spans(add_typing_noise(pieces, random.Random(seed))).endswith(" ANNABELLE?")

    @pytest.mark.costly
    @given(st.from_regex(r"[A-Za-z]{4,12}", fullmatch=True), st.integers())
    def test_a_typo_keeps_the_first_and_last_letter(self, word, seed):
        changed = misspell(word, random.Random(seed))
        assert abs(len(changed) - len(word)) <= 1
        assert (changed[0], changed[-1]) == (word[0], word[-1])

    def test_a_line_of_marks_is_unchanged(self):
        assert all(
            join_spans(add_typing_noise((TemplateSpan("?!"),), random.Random(seed))) == "?!" for seed in range(50)
        )


class TestTemplates:
    def all_renderings(self, line: str, **slots) -> set[str]:
        template = parse_template(line)
        return {join_spans(template.render(random.Random(seed), slots)) for seed in range(200)}

    def test_alternatives_may_nest_and_be_empty(self):
        assert self.all_renderings("a[|b[c|d]]e") == {"ae", "abce", "abde"}

    def test_spaces_left_by_an_empty_alternative_become_one(self):
        assert self.all_renderings("tell me [|please ]now [|soon]") == {
            "tell me now", "tell me please now", "tell me now soon", "tell me please now soon",
        }  # fmt: skip

    def test_a_line_without_alternatives_keeps_double_spaces(self):
        assert self.all_renderings("x = 1  # one\n    y") == {"x = 1  # one\n    y"}

    def test_a_backslash_escapes_a_bracket(self):
        assert self.all_renderings(r"\[a\|b\] \{c\} \\ \n") == {r"[a|b] {c} \ \n"}

    @pytest.mark.parametrize("line", ["[a", "a]", "a|b", "{a", "a}", "{}", "{a b}", "[a|{b]", "[[a]", "{{name}}"])
    def test_unmatched_brackets_are_rejected(self, line):
        with pytest.raises(ValueError, match=r"never closed|before it|is not a slot"):
            parse_template(line)


class TestGrammarErrors:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (small(user=["hi {nmae}"]), ["topic 'greeting'", "'hi {nmae}'", "slot 'nmae' is unknown"]),
            (small(user=["[hi"]), ["topic 'greeting'", "'[hi'", "never closed"]),
            (small(usr=["x"]), ["topic 'greeting'", "unknown key 'usr'", "did you mean 'user'"]),
            (small(then=["greting"]), ["topic 'greeting'", "unknown topic 'greting'", "did you mean 'greeting'"]),
            (small(needs=["nothing"]), ["unknown topic 'nothing'"]),
            (small(not_after=["nothing"]), ["unknown topic 'nothing'"]),
            (small(assistant=None), ["topic 'greeting'", "no 'assistant' lines"]),
            (small(user=None, assistant=None), ["has no lines"]),
            (small(turns=[["a", "b", "c"]]), ["has 3 turns", "must be even"]),
            (small(pairs=[{"user": ["a"]}]), ["no 'assistant' lines"]),
            (small(user=[True]), ["True", "Put quotes around it"]),
            (small(user=[{"a": "b"}]), ["Put quotes around it"]),
            (small(user=[" "]), ["a line is empty"]),
            (small(weight=-1), ["'weight' must be a number of at least 0"]),
            (small(repeat="maybe"), ["'repeat' must be true or false"]),
            (small(start=0), ["no topic can open a dialogue"]),
            ("topics: {a: {user: [x], assistant: [y]}}\nslot: {}", ["unknown key 'slot'", "did you mean 'slots'"]),
            ("topics:\n  a: {user: [x], assistant: [y]}\n  a: {user: [x], assistant: [y]}", ["line 3", "occurs twice"]),
            ("topics: [", ["not valid YAML"]),
            ("", ["expected 'key: value' lines"]),
            ("slots: {a: []}\ntopics: {}", ["slot 'a'", "empty"]),
        ],
    )
    def test_are_reported_with_file_topic_and_line(self, text, words, tmp_path):
        path = tmp_path / "g.yaml"
        path.write_text(text)
        with pytest.raises(InvalidData) as raised:
            load_grammar(path)
        for word in (str(path), *words):
            assert word in str(raised.value)

    def test_a_missing_file_and_a_file_that_is_not_utf8_are_rejected(self, tmp_path):
        with pytest.raises(InvalidData, match="Could not read the grammar"):
            load_grammar(tmp_path / "none.yaml")
        (tmp_path / "latin.yaml").write_bytes(b"topics: caf\xe9")
        with pytest.raises(InvalidData, match="byte 11"):
            load_grammar(tmp_path / "latin.yaml")


ROOT = Path(__file__).parents[2]
GRAMMARS = sorted([*(ROOT / "src/turnwise/data/prompts").glob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")])


@pytest.mark.parametrize("path", [p for p in GRAMMARS if "\ntopics:" in p.read_text("utf-8")], ids=lambda p: p.name)
@pytest.mark.costly
def test_bundled_grammars_expand(path):
    conversations = list(expand(load_grammar(path), 200, 1))
    assert len(conversations) == 200
    assert not any(set("[]{}|") & set(message.content) for dialogue in conversations for message in dialogue.messages)
