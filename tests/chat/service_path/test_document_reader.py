"""Documents of a scenario that need a parser: read once per content, and a damaged one does not cost the others."""

import pytest

from service_scenarios import ask, write_scenario
from turnwise.chat.service_path import document_reader
from turnwise.chat.service_path.document_reader import DocumentReader
from turnwise.chat.service_path.scenario_documents import ScenarioRetriever, scenario_passages
from turnwise.scenarios.loader import load_scenario

HTML = "<html><head><title>Sizes</title></head><body><h1>Sizes</h1><p>The tall shade is 38 cm.</p></body></html>"
CSV = "Lamp,Power\nDesk lamp,9 W\nFloor lamp,21 W\n"


@pytest.fixture
def folder(tmp_path):
    write_scenario(tmp_path / "shop")
    (tmp_path / "shop/knowledge/en/sizes.html").write_text(HTML)
    (tmp_path / "shop/knowledge/en/power.csv").write_text(CSV)
    return tmp_path / "shop"


@pytest.fixture
def parsed(monkeypatch):
    """Names of the documents that were parsed."""
    names = []

    class RecordingParser(document_reader.ParserProcess):
        def parse(self, path, name=None):
            names.append(name)
            return super().parse(path, name)

    monkeypatch.setattr(document_reader, "ParserProcess", RecordingParser)
    return names


@pytest.mark.parametrize(
    ("query", "text", "path"),
    [
        ("how tall is the tall shade", "The tall shade is 38 cm.", "knowledge/en/sizes.html"),
        ("power of the floor lamp", "Lamp: Floor lamp | Power: 21 W", "knowledge/en/power.csv"),
        ("broken bulb", "A broken bulb is not covered", "knowledge/en/warranty.md"),
    ],
)
def test_passages_of_all_formats_are_found_and_can_be_cited(folder, query, text, path):
    definition, reader = load_scenario(folder), DocumentReader()
    passage = ScenarioRetriever(scenario_passages(definition, "en", reader)).search(query, 1)[0].passage
    assert text in passage.text
    assert passage.metadata["path"] == path
    texts = {document.path: read.text for document, read in reader.read(definition.documents)}
    if path in texts:
        assert texts[path][passage.location.start : passage.location.end] == passage.text


def test_a_content_is_parsed_once(folder, parsed):
    reader = DocumentReader()
    scenario_passages(load_scenario(folder), "en", reader)
    assert sorted(parsed) == ["knowledge/en/power.csv", "knowledge/en/sizes.html"]
    (folder / "facts.yaml").write_text("opening_hours: {en: always, zh: 全天}")
    scenario_passages(load_scenario(folder), "en", reader)
    assert len(parsed) == 2
    (folder / "knowledge/en/power.csv").write_text(CSV + "Wall lamp,5 W\n")
    scenario_passages(load_scenario(folder), "en", reader)
    assert parsed[2:] == ["knowledge/en/power.csv"]


def test_a_document_that_cannot_be_read_is_left_out_and_the_others_are_found(folder, parsed, caplog):
    (folder / "knowledge/en/broken.pdf").write_bytes(b"%PDF-1.7 no more")
    reader = DocumentReader()
    for _ in range(2):
        passages = scenario_passages(load_scenario(folder), "en", reader)
    assert any("38 cm" in passage.text for passage in passages)
    assert parsed.count("knowledge/en/broken.pdf") == 1
    assert "A document of the scenario shop is left out: 'knowledge/en/broken.pdf' cannot be read." in caplog.text


def test_an_answer_cites_such_a_document(shop, reply, tmp_path):
    service, _ = shop("The warranty is 36 months.", changes={"knowledge/en/warranty": None})
    html = "<h1>Warranty</h1><p>The warranty of every lamp is 36 months.</p>"
    (tmp_path / "scenarios/shop/knowledge/en").mkdir()
    (tmp_path / "scenarios/shop/knowledge/en/warranty.html").write_text(html)
    response = reply(service, ask("how long is the guarantee, the warranty?"))
    assert response.text == "The warranty is 36 months. [1]"
    assert response.service.citations[0].text == "Warranty\n\nThe warranty of every lamp is 36 months."
