"""The prompt library: versions that never change, variables, references and their errors."""

import pytest

from turnwise.app.prompts.library import PromptLibrary, parse_variables, render_prompt
from turnwise.app.prompts.prompt_file import PromptVersion
from turnwise.core.errors import InvalidData, InvalidParameter, TemplateError, UserError


@pytest.fixture
def library(tmp_path):
    return PromptLibrary((tmp_path / "here", tmp_path / "home"))


def version(text="You are {{ role }}.", **variables):
    return PromptVersion(text=text, variables=variables or {"role": "kind"})


def test_a_new_prompt_is_version_1_and_the_next_one_is_version_2(library):
    assert library.add("support", version(), "Answers questions.").reference == "support@1"
    assert library.add("support", version("Be brief, {{ role }}.")).reference == "support@2"
    assert library.load("support@1").render({}) == "You are kind."
    assert library.load("support").render({"role": "Ann"}) == "Be brief, Ann."
    assert library.read("support").description == "Answers questions."


def test_a_version_can_be_referred_to_by_its_content(library):
    first = library.add("support", version())
    library.add("support", version("Other."))
    assert library.load(f"support@{first.version.content_hash}") == first


def test_the_hash_changes_with_the_text_and_the_defaults_and_not_with_the_note():
    same = PromptVersion(text="You are {{ role }}.", variables={"role": "kind"}, note="first")
    assert same.content_hash == version().content_hash
    assert version("You are {{ role }}!").content_hash != version().content_hash
    assert version(role="strict").content_hash != version().content_hash


def test_the_same_content_is_not_written_twice(library):
    library.add("support", version())
    with pytest.raises(InvalidParameter, match="support@1 has the same text"):
        library.add("support", version())


def test_the_first_folder_with_a_name_counts_and_a_path_is_a_name_too(library, tmp_path):
    library.add("support", version("At home."))
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "support.yaml"
    path.write_text("versions: {1: {text: Here.}}")
    assert library.load("support").render({}) == "Here."
    assert PromptLibrary(()).load(f"{path}@1").render({}) == "Here."
    assert list(library.paths()) == ["support"]


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        ("versions: {}", InvalidParameter, "versions"),
        ("versions: {1: {txt: a}}", InvalidParameter, "unknown key"),
        ("versions: {1: {text: '{{ a }}'}}", InvalidParameter, "'a', which its 'variables' do not declare"),
        ("versions: {1: {text: '{% if %}'}}", InvalidParameter, "line 1"),
        ("versions: {1: {text: a}, 1: {text: b}}", InvalidData, "occurs twice"),
        ("[", InvalidData, "YAML"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(library, tmp_path, content, error, reason):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "support.yaml").write_text(content)
    with pytest.raises(error, match=reason) as caught:
        library.load("support")
    assert "support.yaml" in str(caught.value)


@pytest.mark.parametrize("name", ["../support", "a/b", "", ".hidden", "a b"])
def test_a_new_prompt_has_a_plain_name(library, name):
    with pytest.raises(InvalidParameter, match="no name of a prompt"):
        library.add(name, version())


@pytest.mark.parametrize(
    ("reference", "reason"), [("suport", "did you mean 'support'"), ("support@2", "no version '2'; it has 1")]
)
def test_an_unknown_prompt_or_version_is_an_error_that_says_what_there_is(library, reference, reason):
    library.add("support", version())
    with pytest.raises(InvalidParameter, match=reason):
        library.load(reference)


def test_every_variable_needs_a_value_and_every_value_a_variable(library):
    prompt = library.add("support", PromptVersion(text="{{ a }}{{ b }}", variables={"a": None, "b": "x"}))
    assert prompt.render({"a": "y"}) == "yx"
    with pytest.raises(InvalidParameter, match="needs a value of 'a'"):
        prompt.render({})
    with pytest.raises(InvalidParameter, match="no variable 'c'"):
        prompt.render({"a": "y", "c": "z"})


def test_a_template_runs_in_the_sandbox(library):
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    prompt = library.add("support", PromptVersion(text=loop))
    with pytest.raises(TemplateError, match="support@1"):
        prompt.render({})
    with pytest.raises(UserError):
        library.add("other", PromptVersion(text="{{ ''.__class__.__mro__ }}")).render({})


def test_variables_of_the_command_line():
    assert parse_variables(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    for assignments in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(InvalidParameter, match="NAME=VALUE"):
            parse_variables(assignments)


def test_variables_without_a_prompt_are_an_error():
    assert render_prompt(None, ()) is None
    with pytest.raises(InvalidParameter, match="needs --prompt-template"):
        render_prompt(None, ["a=1"])
