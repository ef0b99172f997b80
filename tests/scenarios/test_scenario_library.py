"""Scenarios by name: which folder wins, when an edit takes effect, and what an invalid edit changes."""

import shutil
import threading

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.scenarios import scenario_library
from turnwise.scenarios.scenario_library import CHECK_INTERVAL, ScenarioLibrary, builtin_folder


class Clock:
    """A clock that tests advance."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def library(lamp_shop, clock):
    return ScenarioLibrary([lamp_shop().parent], clock=clock)


def edit(folder, file, old, new):
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def shop_name(library):
    return library.get("lamp_shop").fact_values("en")["shop_name"]


def test_an_edit_takes_effect_within_a_second(library, clock):
    assert shop_name(library) == "Lampino"
    edit(library.folder("lamp_shop"), "facts.yaml", "Lampino", "Lumena")
    clock.now += CHECK_INTERVAL
    assert shop_name(library) == "Lumena"
    assert CHECK_INTERVAL < 1


def test_files_are_not_looked_at_between_two_checks(library, clock, monkeypatch):
    library.get("lamp_shop")
    states = []
    look = scenario_library.folder_state
    monkeypatch.setattr(scenario_library, "folder_state", lambda folder: states.append(folder) or look(folder))
    for _ in range(100):
        clock.now += CHECK_INTERVAL / 1000
        library.get("lamp_shop")
    assert states == []
    clock.now += CHECK_INTERVAL
    library.get("lamp_shop")
    assert len(states) == 1


def test_unchanged_files_are_not_read_again(library, clock):
    first = library.get("lamp_shop")
    clock.now += CHECK_INTERVAL
    assert library.get("lamp_shop") is first


@pytest.mark.parametrize("file", ["facts.yaml", "tests/basic.yaml", "knowledge/zh/care.md"])
def test_a_new_deleted_or_changed_file_of_any_kind_is_noticed(library, clock, file):
    before = library.get("lamp_shop").content_hash
    (library.folder("lamp_shop") / file).unlink()
    if file.startswith("facts"):
        (library.folder("lamp_shop") / file).write_text("shop_name: Lumena\nreturn_days: 5\n")
    clock.now += CHECK_INTERVAL
    assert library.get("lamp_shop").content_hash != before or library.error("lamp_shop")


def test_an_invalid_edit_leaves_the_last_valid_version_and_says_what_is_wrong(library, clock):
    folder = library.folder("lamp_shop")
    first = library.get("lamp_shop")
    edit(folder, "facts.yaml", "Lampino", "Lumena")
    edit(folder, "intents.yaml", "  examples: {en: [where", "  exampels: {en: [where")
    clock.now += CHECK_INTERVAL
    assert library.get("lamp_shop") is first
    assert "unknown key 'exampels'" in library.error("lamp_shop")
    edit(folder, "intents.yaml", "exampels", "examples")
    clock.now += CHECK_INTERVAL
    assert shop_name(library) == "Lumena"
    assert library.error("lamp_shop") is None


def test_a_link_that_appears_is_an_invalid_edit_too(library, clock, tmp_path):
    first = library.get("lamp_shop")
    link = library.folder("lamp_shop") / "knowledge/en/link.md"
    link.symlink_to(tmp_path)
    for _ in range(2):
        clock.now += CHECK_INTERVAL
        assert library.get("lamp_shop") is first
        assert "symbolic link" in library.error("lamp_shop")
    link.unlink()
    clock.now += CHECK_INTERVAL
    assert library.error("lamp_shop") is None


def test_a_scenario_that_was_never_valid_is_an_error_until_it_is(lamp_shop, clock):
    folder = lamp_shop(facts="price: 20")
    library = ScenarioLibrary([folder.parent], clock=clock)
    assert library.names() == ("lamp_shop",)
    with pytest.raises(InvalidData, match=r"facts\.yaml"):
        library.get("lamp_shop")
    lamp_shop()
    clock.now += CHECK_INTERVAL
    assert shop_name(library) == "Lampino"


def test_scenarios_come_and_go_with_their_folders(library, clock):
    folder = library.folder("lamp_shop")
    shutil.copytree(folder, folder.with_name("second_shop"))
    clock.now += CHECK_INTERVAL
    assert library.names() == ("lamp_shop", "second_shop")
    assert library.get("second_shop").name == "second_shop"
    shutil.rmtree(folder)
    clock.now += CHECK_INTERVAL
    with pytest.raises(InvalidParameter, match="no scenario 'lamp_shop'"):
        library.get("lamp_shop")


def test_a_scenario_of_the_user_takes_precedence_over_a_built_in_one(lamp_shop, tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    own = tmp_path / "home/scenarios/assistant"
    shutil.copytree(lamp_shop(), own)
    assert ScenarioLibrary.default().folder("assistant") == own
    elsewhere = tmp_path / "elsewhere/assistant"
    shutil.copytree(lamp_shop(), elsewhere)
    library = ScenarioLibrary.default([elsewhere])
    assert library.folder("assistant") == elsewhere
    assert library.folder("teaching") == builtin_folder() / "teaching"


def test_an_unknown_name_is_an_error_with_the_nearest_one(library):
    with pytest.raises(InvalidParameter, match="did you mean 'lamp_shop'"):
        library.get("lampshop")
    with pytest.raises(InvalidParameter, match="no scenario"):
        library.get("../lamp_shop")


def test_requests_do_not_wait_for_a_reload_of_another_thread(library, clock, monkeypatch):
    first = library.get("lamp_shop")
    edit(library.folder("lamp_shop"), "facts.yaml", "Lampino", "Lumena")
    clock.now += CHECK_INTERVAL
    started, goes_on = threading.Event(), threading.Event()
    parse = scenario_library.parse_snapshot

    def slow_parse(snapshot, name):
        started.set()
        assert goes_on.wait(60)
        return parse(snapshot, name)

    monkeypatch.setattr(scenario_library, "parse_snapshot", slow_parse)
    thread = threading.Thread(target=library.get, args=["lamp_shop"])
    thread.start()
    try:
        assert started.wait(60)
        assert library.get("lamp_shop") is first
    finally:
        goes_on.set()
        thread.join(60)
    assert shop_name(library) == "Lumena"
