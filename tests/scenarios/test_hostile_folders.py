"""Hostile scenario files: an error in a sentence, in bounded time, and nothing outside of the folder is read."""

import os

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.strict_yaml import parse_yaml
from turnwise.scenarios import folder_snapshot
from turnwise.scenarios.answer_template import AnswerTemplate
from turnwise.scenarios.loader import load_scenario

ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than 64 levels deep"),  # overflows the stack of PyYAML's C loader
        ("- " * 100_000, "nested more than 64 levels deep"),
        ("{a: " * 100_000, "nested more than 64 levels deep"),
        (ALIAS_BOMB, "more than 1,000,000 values"),
        ("a: &a [*a]", r"alias '\*a' contains itself"),
        ("a: &a {b: *a}", r"alias '\*a' contains itself"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: " + "9" * 5000, "a value that cannot be read"),
        ("a: 2026-02-31", "a value that cannot be read"),
        ("? [a]\n: b", "a key must be text"),
        ("a: 1\n--- \nb: 2", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_hostile_yaml_is_an_error(text, message):
    with pytest.raises(InvalidData, match=message):
        parse_yaml(text, "file")


def test_an_alias_within_bounds_is_read():
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "file") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize("name", ["../secrets", "/etc", "..", "a/b", "", ".hidden", "C:\\x"])
def test_a_knowledge_folder_cannot_lead_out_of_the_scenario(lamp_shop, name):
    folder = lamp_shop()
    text = (folder / "scenario.yaml").read_text().replace("[knowledge]", f"['{name}']")
    (folder / "scenario.yaml").write_text(text)
    with pytest.raises(InvalidData, match=r"'knowledge\.0' .* should match pattern|'knowledge\.0' "):
        load_scenario(folder)


@pytest.mark.parametrize("link", ["intents.yaml", "knowledge/en/more.md", "tests/more.yaml", "knowledge/fr"])
def test_symbolic_links_are_not_followed(lamp_shop, tmp_path, link):
    (tmp_path / "secret.txt").write_text("a: b")
    folder = lamp_shop()
    (folder / link).unlink(missing_ok=True)
    (folder / link).symlink_to(tmp_path if link.endswith("fr") else tmp_path / "secret.txt")
    with pytest.raises(InvalidData, match=r"is a symbolic link\. Copy the file"):
        load_scenario(folder)


def test_special_files_are_not_opened(lamp_shop):
    folder = lamp_shop()
    os.mkfifo(folder / "knowledge/en/pipe.md")
    with pytest.raises(InvalidData, match=r"pipe\.md is no regular file"):
        load_scenario(folder)


def test_a_file_that_is_replaced_by_a_link_after_the_look_at_the_folder_is_not_read(lamp_shop, tmp_path, monkeypatch):
    (tmp_path / "secret.txt").write_text("secret")
    folder = lamp_shop()
    state = folder_snapshot.folder_state(folder)
    (folder / "facts.yaml").unlink()
    (folder / "facts.yaml").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(folder_snapshot, "folder_state", lambda _: state)
    with pytest.raises(InvalidData, match=r"facts\.yaml cannot be read"):
        load_scenario(folder)


def test_sizes_are_bounded(lamp_shop, monkeypatch):
    monkeypatch.setattr(folder_snapshot, "MAX_YAML_BYTES", 1000)
    with pytest.raises(InvalidData, match=r"facts\.yaml has more than 1,000 bytes"):
        load_scenario(lamp_shop(facts="a: " + "x" * 1000))
    monkeypatch.setattr(folder_snapshot, "MAX_FILES", 5)
    with pytest.raises(InvalidData, match="more than 5 files"):
        load_scenario(lamp_shop())


def test_folders_are_not_followed_without_end(lamp_shop):
    folder = lamp_shop()
    (folder / ("knowledge" + "/a" * 20)).mkdir(parents=True)
    with pytest.raises(InvalidData, match="nested more than 8 levels deep"):
        load_scenario(folder)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{{ ''.__class__ }}",
        "{{ a.b }}",
        "{{ a|upper }}",
        "{# comment #}",
        "{{ a }",
        "{{",
        "}}",
        "{{ {{ a }} }}",
        "{{ A }}",
        "{%",
        "{{ a() }}",
    ],
)
def test_a_template_can_hold_nothing_but_slots(source):
    with pytest.raises(InvalidParameter, match="only slots such as"):
        AnswerTemplate.parse(source)


def test_a_value_with_template_syntax_is_inserted_as_it_is():
    template = AnswerTemplate.parse("Order {{ a }} and {{ b }}.")
    assert template.render({"a": "{{ b }}", "b": "{% raw %}"}) == "Order {{ b }} and {% raw %}."


def test_the_length_of_an_answer_is_bounded_whatever_a_person_writes():
    assert len(AnswerTemplate.parse("{{ a }}").render({"a": "x" * 10_000})) == 500
