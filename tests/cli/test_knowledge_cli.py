"""`turnwise knowledge`."""

import json

import pytest

from turnwise.core.settings import Settings

PLAIN = ("--encoder", "none")
TEXT = "Lamps can be returned within 30 days.\n\nShipping is free."


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shop(tmp_path, turnwise):
    (tmp_path / "shop.txt").write_text(TEXT)
    turnwise("knowledge", "add", "shop.txt", "--metadata", "language=en", *PLAIN)


def results(turnwise, *arguments):
    code, out, _ = turnwise("knowledge", "search", "--json", *arguments)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_added_documents_are_found_with_their_location(turnwise, shop):
    (result,) = results(turnwise, "lamp")
    assert (result["source"], result["text"]) == ("shop.txt", TEXT)
    assert (result["location"]["start"], result["location"]["end"]) == (0, len(TEXT))
    assert result["metadata"] == {"language": "en"}
    assert (Settings.from_environment().knowledge / "default" / "knowledge.db").is_file()


def test_a_changed_file_replaces_its_earlier_version(turnwise, shop, tmp_path):
    assert "1 unchanged" in turnwise("index", "shop.txt", "-m", "language=en")[1]
    (tmp_path / "shop.txt").write_text("Chairs only.")
    assert "1 replaced" in turnwise("index", "shop.txt")[1]
    assert results(turnwise, "lamp") == []
    assert len(results(turnwise, "chair")) == 1


def test_deleted_documents_are_gone(turnwise, shop):
    assert turnwise("knowledge", "delete", "shop.txt")[:2] == (0, "Deleted shop.txt.\n")
    assert results(turnwise, "lamp") == []
    code, _, err = turnwise("knowledge", "delete", "shop.txt")
    assert (code, "There is no document shop.txt" in err) == (1, True)


def test_tenants_and_properties_are_kept_apart(turnwise, shop):
    assert results(turnwise, "lamp", "--scope", "other") == []
    assert results(turnwise, "lamp", "-m", "language=zh") == []
    assert len(results(turnwise, "lamp", "-m", "language=en")) == 1


def test_list_shows_documents_and_the_state_of_the_indexes(turnwise, shop):
    code, out, err = turnwise("knowledge", "list")
    assert (code, "shop.txt  language=en" in out, "1 document, 1 passage" in err) == (0, True, True)
    assert json.loads(turnwise("knowledge", "list", "--json")[1])["num_passages"] == 1


def test_check_and_rebuild(turnwise, shop, tmp_path):
    assert turnwise("knowledge", "check")[0] == 0
    for path in (Settings.from_environment().knowledge / "default" / "lexical").glob("*.idx"):
        path.write_bytes(b"damaged")
    code, _, err = turnwise("knowledge", "check")
    assert (code, "has to be rebuilt" in err) == (1, True)
    assert turnwise("knowledge", "rebuild")[0] == 0
    assert turnwise("knowledge", "check", "--compact")[0] == 0
    assert len(results(turnwise, "lamp")) == 1


def test_a_base_can_be_a_folder(turnwise, shop, tmp_path):
    turnwise("knowledge", "add", "shop.txt", "--base", "./mine", *PLAIN)
    assert (tmp_path / "mine" / "knowledge.db").is_file()
    assert len(results(turnwise, "lamp", "--base", "./mine")) == 1


def test_a_removed_encoder_leaves_the_search_by_words(turnwise, shop):
    from turnwise.app.knowledge.open_base import ENCODER_SETTING, open_knowledge_base

    with open_knowledge_base() as base:
        base.store.save_setting(ENCODER_SETTING, "minilm")
    code, out, err = turnwise("knowledge", "search", "lamp")
    assert (code, "Lamps can" in out) == (0, True)
    assert "words only: minilm is not on this machine: run turnwise models pull minilm" in err


def test_files_that_cannot_be_read_are_skipped_and_reported(turnwise, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("lamp")
    (tmp_path / "docs" / "b.txt").write_text("")
    code, out, err = turnwise("knowledge", "add", "docs", *PLAIN)
    assert (code, "1 added" in out, "'docs/b.txt' cannot be read. It is empty." in err) == (1, True, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "x", "--base", "nothing"), "There is no knowledge base nothing"),
        (("list", "--base", "a b"), "no name of a knowledge base"),
        (("add", "missing.txt"), "missing.txt does not exist"),
        (("add", "shop.txt", "-m", "x"), "should be KEY=VALUE"),
        (("add", "shop.txt", "shop.txt", "--source", "x"), "--source names one file"),
        (("add", "shop.txt", "--encoder", "missing-model"), "missing-model"),
        (("search", "x", "--mode", "denze"), "did you mean 'dense'?"),
        (("search", "x", "--mode", "dense"), "needs an encoder"),
        (("embed",), "--encoder"),
        (("tune", "missing.jsonl"), "cannot be read"),
    ],
)
def test_errors_are_one_sentence(turnwise, shop, arguments, message):
    code, _, err = turnwise("knowledge", *arguments)
    assert code in (1, 2)
    assert message in err
    assert "Traceback" not in err


def test_names_and_texts_cannot_command_the_terminal(turnwise, tmp_path):
    (tmp_path / "a.txt").write_text("lamp \x1b[2J")
    turnwise("knowledge", "add", "a.txt", "--source", "x\x1b[31m", *PLAIN)
    for command in (("list",), ("search", "lamp"), ("search", "lamp", "--json"), ("delete", "x\x1b[31m")):
        assert "\x1b" not in "".join(map(str, turnwise("knowledge", *command)))
