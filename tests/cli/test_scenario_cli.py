"""`turnwise scenario`, and chatting with a scenario."""

import json

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_new_scenario_is_listed_and_has_no_errors(turnwise, home):
    code, out, _ = turnwise("scenario", "new", "library")
    assert code == 0
    assert str(home / "scenarios/library") in out
    assert "library " in turnwise("scenario", "list")[1]
    assert turnwise("scenario", "check", "library") == (0, "0 errors, 0 warnings.\n", "")


@pytest.mark.parametrize("name", ["../outside", "Library", "a b", ""])
def test_a_new_scenario_needs_a_name_that_stays_in_its_folder(turnwise, home, name):
    code, _, err = turnwise("scenario", "new", name)
    assert code == 2
    assert "no name of a scenario" in err
    assert not home.exists()


def test_an_existing_folder_is_not_overwritten(turnwise, home):
    turnwise("scenario", "new", "library")
    (home / "scenarios/library/facts.yaml").write_text("library_name: mine")
    assert turnwise("scenario", "new", "library")[0] == 2
    assert (home / "scenarios/library/facts.yaml").read_text() == "library_name: mine"


def test_check_reports_every_error_and_exits_with_1(turnwise, tmp_path):
    turnwise("scenario", "new", "library", "--folder", tmp_path)
    facts = tmp_path / "library/facts.yaml"
    facts.write_text(facts.read_text().replace("21 days", "14 days").replace("opening_hours", "hours"))
    templates = tmp_path / "library/templates.yaml"
    templates.write_text(templates.read_text().replace("{{ renewal_days }}", "21 days"))
    code, out, _ = turnwise("scenario", "check", str(tmp_path / "library"))
    assert code == 1
    assert "templates.yaml, renew_loan.en.1: '21 days'" in out
    assert "'opening_hours' is neither in slots.yaml nor in facts.yaml" in out
    findings = json.loads(turnwise("scenario", "check", str(tmp_path / "library"), "--json")[1])
    assert {finding["check"] for finding in findings if finding["severity"] == "error"} == {
        "contradicted_facts", "unfilled_slots",
    }  # fmt: skip


def test_check_reports_a_document_that_cannot_be_read_and_reads_the_others(turnwise, tmp_path):
    turnwise("scenario", "new", "library", "--folder", tmp_path)
    folder = tmp_path / "library"
    (folder / "knowledge/broken.pdf").write_bytes(b"%PDF-1.7 no more")
    (folder / "knowledge/page.html").write_text("<p>Please insert [NAME] here.</p>")
    code, out, _ = turnwise("scenario", "check", str(folder))
    assert code == 1
    assert "error: knowledge/broken.pdf: 'knowledge/broken.pdf' cannot be read. It is damaged" in out
    assert "[unreadable_documents]" in out
    assert "knowledge/page.html" in out  # another check reads its text


def test_a_file_that_cannot_be_read_is_a_finding(turnwise, tmp_path):
    turnwise("scenario", "new", "library", "--folder", tmp_path)
    (tmp_path / "library/intents.yaml").write_text("a: [")
    code, out, _ = turnwise("scenario", "check", str(tmp_path / "library"))
    assert code == 1
    assert "intents.yaml is not valid YAML" in out


def test_warnings_alone_are_no_failure(turnwise, tmp_path):
    turnwise("scenario", "new", "library", "--folder", tmp_path)
    with (tmp_path / "library/facts.yaml").open("a") as file:
        file.write("phone: '555 12 12'\n")
    code, out, _ = turnwise("scenario", "check", str(tmp_path / "library"))
    assert code == 0
    assert out.endswith("0 errors, 1 warning.\n")


def test_an_invalid_scenario_is_listed_as_such(turnwise, home):
    turnwise("scenario", "new", "library")
    (home / "scenarios/library/facts.yaml").write_text("price: 20")
    assert "invalid: " in turnwise("scenario", "list")[1]
    rows = json.loads(turnwise("scenario", "list", "--json")[1])
    assert "quote the value" in next(row["error"] for row in rows if row["name"] == "library")


def test_show_prints_the_system_prompt_in_a_language(turnwise):
    assert "灯塔" in turnwise("scenario", "show", "game_character", "--language", "zh")[1]
    code, _, err = turnwise("scenario", "show", "game_character", "--language", "fr")
    assert code == 2
    assert "no texts in 'fr'" in err


def test_an_unknown_scenario_is_an_error_with_the_nearest_name(turnwise):
    code, _, err = turnwise("scenario", "check", "custmer_service")
    assert code == 2
    assert "did you mean 'customer_service'" in err


TESTS = """
- {id: hours, language: en, messages: [when are you open], decision: "template:opening_hours"}
- {id: fire, language: en, messages: [there is fire in the building], decision: "safety:fire", must_include: ["112"]}
- {id: wrong, language: en, messages: [there is smoke in the room], decision: clarify}
"""


@pytest.fixture
def library(turnwise, tmp_path):
    turnwise("scenario", "new", "library", "--folder", tmp_path)
    (tmp_path / "library/tests/basic.yaml").write_text(TESTS)
    return str(tmp_path / "library")


def test_test_answers_on_the_service_path_and_prints_rates_and_decisions(turnwise, library):
    code, out, err = turnwise("scenario", "test", library, "tiny", "--trials", "2", "--threads", "1")
    assert code == 0, err
    failure, table = out.split("scenario  ")
    assert "wrong: the decision is safety:fire, not clarify" in failure
    assert "steps: safety_line: match" in failure
    rates, figure = table.split("\n\n")
    assert [line.split()[1:6] for line in rates.splitlines()[1:]] == [
        ["all", "3", "pass^1", "66.7%", "pass^2"], ["en", "3", "pass^1", "66.7%", "pass^2"],
        ["template", "1", "pass^1", "100.0%", "pass^2"], ["safety", "1", "pass^1", "100.0%", "pass^2"],
        ["clarify", "1", "pass^1", "0.0%", "pass^2"],
    ]  # fmt: skip
    assert [line.split() for line in figure.splitlines()[1:]] == [
        ["safety", "template"], ["clarify", "2", "."], ["safety", "2", "."], ["template", ".", "2"],
    ]  # fmt: skip


def test_the_tests_of_a_scenario_as_json(turnwise, library):
    code, out, _ = turnwise("scenario", "test", library, "tiny", "--decision", "clarify", "--threads", "1", "--json")
    (report,) = json.loads(out)
    assert (code, report["scenario"], report["trials"]) == (0, "library", 1)
    assert report["languages"][1] == {"label": "en", "tests": 1, "k": 1, "pass": 0.0, "ci95": None}
    assert report["decisions"] == [{"expected": "clarify", "taken": "safety", "answers": 1}]
    (answer,) = report["tests"][0]["answers"]
    assert (answer["decision"], answer["steps"]) == ("safety:fire", ["safety_line: match"])
    assert answer["errors"] == ["the decision is safety:fire, not clarify"]


def test_tests_that_do_not_exist_are_an_error(turnwise, library):
    code, _, err = turnwise("scenario", "test", library, "tiny", "--decision", "knowledge")
    assert code == 2
    assert "has no such tests" in err


def test_chat_uses_the_system_prompt_and_the_sampling_of_a_scenario(turnwise, monkeypatch):
    requests = []

    def print_answer(service, text, *, scenario, sampling):
        requests.append((scenario.system_prompt, dict(sampling)))

    monkeypatch.setattr("turnwise.cli.stream_answer.print_answer", print_answer)
    arguments = ["--scenario", "game_character", "--language", "zh", "--top-p", "0.5", "--threads", "1"]
    code, _, err = turnwise("chat", "tiny", "--prompt", "你是谁", *arguments)
    assert code == 0, err
    ((system_prompt, sampling),) = requests
    assert "守灯人" in system_prompt
    assert sampling == {"temperature": 0.8, "max_tokens": 200, "top_p": 0.5}


@pytest.mark.parametrize("options", [["--scenario", "assistant", "--system", "x"], ["--language", "zh"]])
def test_options_that_contradict_each_other_are_rejected(turnwise, options):
    code, _, err = turnwise("chat", "tiny", "--prompt", "hi", *options)
    assert code == 2
    assert "--scenario" in err
