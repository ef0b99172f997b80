"""Template grammars: what they may say, what they refuse, and that the dice always fall the same way."""

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
from turnwise.data.grammar.expand import expand, load_grammar, parse_grammar
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


def dialogues(seed=0, count=300, **how):
    return list(expand(parse_grammar(RICH), count, seed, **how))


class TestExpansion:
    @settings(max_examples=15, deadline=None)
    @given(st.integers(), st.floats(0, 1))
    def test_every_dialogue_is_clean_and_alternates(self, seed, noise):
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

    def test_the_same_seed_says_the_same_and_another_does_not(self):
        assert dialogues(7) == dialogues(7)
        assert dialogues(7) != dialogues(8)

    def test_the_dice_fall_the_same_in_every_process(self, tmp_path):
        (tmp_path / "g.yaml").write_text(RICH)
        code = (
            "from turnwise.data.grammar.expand import *\nimport hashlib\n"
            f"said = repr(list(expand(load_grammar({str(tmp_path / 'g.yaml')!r}), 100, 3)))\n"
            "print(hashlib.sha256(said.encode()).hexdigest())"
        )
        runs = [
            subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True)
            for seed in ("1", "2")
        ]
        assert runs[0].stdout == runs[1].stdout != "", runs[0].stderr

    def test_a_larger_count_begins_like_a_smaller_one(self):
        assert dialogues(count=50) == dialogues(count=100)[:50]

    def test_no_dialogue_comes_twice(self):
        found = [dialogue.messages for dialogue in dialogues(count=1000)]
        assert len(set(found)) == len(found) == 1000

    def test_a_grammar_that_has_said_everything_stops(self):
        found = list(expand(parse_grammar(small(user=["hi", "hey"])), 100, 0, noise=0))
        assert sorted(dialogue.messages[0].content for dialogue in found) == ["hey", "hi"]

    def test_what_is_known_of_a_dialogue(self):
        for dialogue in dialogues():
            assert dialogue.meta["generated"] is True
            assert dialogue.meta["topic"] in {"greeting", "joke", "no_name", "code"}, "memory and goodbye never open"

    def test_about_three_in_ten_have_a_system_prompt(self):
        found = dialogues(count=1000)
        assert 0.2 < sum(dialogue.messages[0].role == "system" for dialogue in found) / len(found) < 0.45

    def test_one_to_four_exchanges_are_usual_and_the_bounds_hold(self):
        lengths = Counter(dialogue.num_turns // 2 for dialogue in dialogues(count=1000))
        assert set(lengths) == {1, 2, 3, 4, 5}
        assert {dialogue.num_turns // 2 for dialogue in dialogues(turns=(2, 3))} == {2, 3}

    def test_a_slot_keeps_its_value_through_a_dialogue(self):
        for dialogue in dialogues(noise=1):
            said = " ".join(message.content for message in dialogue.messages)
            assert sum(name in said for name in ("Anna", "Ben", "Chloe")) <= 1

    def test_topics_come_once_unless_they_may_repeat_and_only_where_they_fit(self):
        jokes = 0
        for dialogue in dialogues(count=1000, noise=0):
            said = [message.content for message in dialogue.messages]
            assert said.count("What is my name?") <= 1
            assert sum(line in ("Hello! How can I help?", "Good to see you.") for line in said) <= 1
            if "What is my name?" in said:
                before = said[: said.index("What is my name?")]
                assert {"Hello! How can I help?", "Good to see you."} & set(before), "memory needs greeting"
                assert "Do you know my name?" not in said[said.index("What is my name?") :], "no_name is not after it"
            if "bye" in said:
                assert said[-2:] == ["bye", "Goodbye!"], "nothing follows an end"
            jokes = max(jokes, sum("duck" in line or line in ("Ha!", "Ho!") for line in said))
        assert jokes > 1

    def test_a_topic_that_never_opens_and_needs_nothing_comes_where_it_is_named(self):
        grammar = parse_grammar("""
slots: {n: ["1", "2", "3", "4", "5", "6", "7", "8", "9"]}
topics:
  ask: {user: ["a {n}"], assistant: ["Shall I?"], then: [agree]}
  say: {user: ["b {n}"], assistant: ["I see."]}
  agree: {user: ["yes"], assistant: ["Good."], start: 0}
""")
        found = [[m.content for m in d.messages] for d in expand(grammar, 20, 0, turns=(2, 2), noise=0)]
        assert any("yes" in said for said in found)
        assert all(said[1] == "Shall I?" for said in found if "yes" in said)

    def test_likely_next_topics_are_likely(self):
        follows = Counter(
            "My name is" in after.content
            for dialogue in dialogues(count=1000, noise=0, turns=(3, 5))
            for before, after in itertools.pairwise(dialogue.messages)
            if before.content in ("Hello! How can I help?", "Good to see you.") and after.role == "user"
        )
        assert follows[True] > follows[False]

    def test_weights_shift_what_is_talked_about(self):
        def opened(weight: float) -> float:
            grammar = parse_grammar(f"""
slots: {{n: [{", ".join(f"n{i}" for i in range(500))}]}}
topics:
  a: {{user: ["a {{n}}"], assistant: [x], weight: {weight}}}
  b: {{user: ["b {{n}}"], assistant: [x]}}
""")
            found = list(expand(grammar, 200, 0, turns=(1, 1), noise=0))
            return sum(dialogue.meta["topic"] == "a" for dialogue in found) / len(found)

        assert opened(0.1) < 0.2 < 0.8 < opened(10)

    @pytest.mark.parametrize("wrong", [{"turns": (0, 2)}, {"turns": (3, 2)}, {"noise": 1.5}, {"noise": -1}])
    def test_numbers_out_of_range_are_refused_at_once(self, wrong):
        with pytest.raises(InvalidParameter):
            expand(parse_grammar(RICH), 1, 0, **wrong)


class TestNoise:
    def test_replies_are_always_clean_and_some_user_turns_are_not(self):
        clean, rough = dialogues(count=500, noise=0), dialogues(count=500, noise=0.5)
        assert {m.content for d in rough for m in d.messages if m.role == "assistant"} <= {
            m.content for d in clean for m in d.messages if m.role == "assistant"
        }
        turns = [m.content for d in rough for m in d.messages if m.role == "user"]
        known = {m.content for d in clean for m in d.messages if m.role == "user"}
        assert 0.25 < sum(turn not in known for turn in turns) / len(turns) < 0.6

    @given(st.integers())
    def test_a_slot_value_is_never_touched(self, seed):
        pieces = (TemplateSpan("My very good Friend "), TemplateSpan("ANNABELLE?", slot=True))
        assert join_spans(add_typing_noise(pieces, random.Random(seed))).endswith(" ANNABELLE?")

    @given(st.from_regex(r"[A-Za-z]{4,12}", fullmatch=True), st.integers())
    def test_a_typo_changes_one_place_and_keeps_the_ends(self, word, seed):
        changed = misspell(word, random.Random(seed))
        assert abs(len(changed) - len(word)) <= 1
        assert (changed[0], changed[-1]) == (word[0], word[-1])

    def test_a_line_of_marks_alone_stays(self):
        assert all(
            join_spans(add_typing_noise((TemplateSpan("?!"),), random.Random(seed))) == "?!" for seed in range(50)
        )


class TestTemplates:
    def all_of(self, line: str, **slots) -> set[str]:
        template = parse_template(line)
        return {join_spans(template.render(random.Random(seed), slots)) for seed in range(200)}

    def test_alternatives_nest_and_may_be_empty(self):
        assert self.all_of("a[|b[c|d]]e") == {"ae", "abce", "abde"}

    def test_spaces_left_by_an_empty_alternative_become_one(self):
        assert self.all_of("tell me [|please ]now [|soon]") == {
            "tell me now", "tell me please now", "tell me now soon", "tell me please now soon",
        }  # fmt: skip

    def test_a_line_without_alternatives_keeps_its_spaces(self):
        assert self.all_of("x = 1  # one\n    y") == {"x = 1  # one\n    y"}

    def test_a_backslash_keeps_a_bracket(self):
        assert self.all_of(r"\[a\|b\] \{c\} \\ \n") == {r"[a|b] {c} \ \n"}

    @pytest.mark.parametrize("line", ["[a", "a]", "a|b", "{a", "a}", "{}", "{a b}", "[a|{b]", "[[a]", "{{name}}"])
    def test_brackets_that_do_not_match_are_refused(self, line):
        with pytest.raises(ValueError, match=r"never closed|before it|is not a slot"):
            parse_template(line)


class TestMistakesInAGrammar:
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
            (small(user=None, assistant=None), ["says nothing"]),
            (small(turns=[["a", "b", "c"]]), ["has 3 turns", "must be even"]),
            (small(pairs=[{"user": ["a"]}]), ["no 'assistant' lines"]),
            (small(user=[True]), ["True", "Put quotes around it"]),
            (small(user=[{"a": "b"}]), ["Put quotes around it"]),
            (small(user=[" "]), ["a line is empty"]),
            (small(weight=-1), ["'weight' must be a number of at least 0"]),
            (small(repeat="maybe"), ["'repeat' must be true or false"]),
            (small(start=0), ["no topic may open a dialogue"]),
            ("topics: {a: {user: [x], assistant: [y]}}\nslot: {}", ["unknown key 'slot'", "did you mean 'slots'"]),
            ("topics:\n  a: {user: [x], assistant: [y]}\n  a: {user: [x], assistant: [y]}", ["line 3", "occurs twice"]),
            ("topics: [", ["not valid YAML"]),
            ("", ["'key: value' lines are expected"]),
            ("slots: {a: []}\ntopics: {}", ["slot 'a'", "empty"]),
        ],
    )
    def test_say_file_topic_and_line(self, text, words, tmp_path):
        path = tmp_path / "g.yaml"
        path.write_text(text)
        with pytest.raises(InvalidData) as raised:
            load_grammar(path)
        for word in (str(path), *words):
            assert word in str(raised.value)

    def test_a_missing_file_and_one_that_is_not_utf8_are_refused(self, tmp_path):
        with pytest.raises(InvalidData, match="Could not read the grammar"):
            load_grammar(tmp_path / "none.yaml")
        (tmp_path / "latin.yaml").write_bytes(b"topics: caf\xe9")
        with pytest.raises(InvalidData, match="byte 11"):
            load_grammar(tmp_path / "latin.yaml")


ROOT = Path(__file__).parents[2]
GRAMMARS = sorted([*(ROOT / "src/turnwise/data/prompts").glob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")])


@pytest.mark.parametrize("path", [p for p in GRAMMARS if "\ntopics:" in p.read_text("utf-8")], ids=lambda p: p.name)
def test_the_grammars_that_come_along_expand(path):
    found = list(expand(load_grammar(path), 200, 1))
    assert len(found) == 200
    assert not any(set("[]{}|") & set(message.content) for dialogue in found for message in dialogue.messages)
