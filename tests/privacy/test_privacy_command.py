"""`turnwise data privacy`: the report, and the masked copy."""

import json

import pytest
from typer.testing import CliRunner

from turnwise.cli.data import app

ROWS = [
    {"messages": [{"role": "user", "content": "my email is ann@example.com, call 13812345678"},
                  {"role": "assistant", "content": "ok", "weight": 0}], "meta": {"id": 1}},
    {"messages": [{"role": "user", "content": "where is it"}, {"role": "assistant", "content": "on its way"}]},
]  # fmt: skip


@pytest.fixture
def chats(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["privacy", *map(str, arguments)])


def test_the_report_counts_rows_and_values_and_shows_none(chats):
    result = run(chats)
    assert result.exit_code == 0, result.output
    assert "1 of 2 rows (50.0%) have personal data." in result.output
    assert "ann@example.com" not in result.output


def test_values_are_shown_on_request(chats):
    assert "ann@example.com" in run(chats, "--show-values").output


def test_json_has_the_counts_by_kind(chats):
    report = json.loads(run(chats, "--json").stdout)
    assert report == {
        "rows": 2, "rows_with_personal_data": 1,
        "kinds": {"email": {"rows": 1, "values": 1}, "phone": {"rows": 1, "values": 1}},
    }  # fmt: skip


def test_the_masked_copy_has_all_rows_with_placeholders(chats, tmp_path):
    out = tmp_path / "masked.jsonl"
    assert run(chats, "--mask", out).exit_code == 0
    first, second = map(json.loads, out.read_text().splitlines())
    assert first["messages"][0]["content"] == "my email is [EMAIL_1], call [PHONE_1]"
    assert first["messages"][1] == ROWS[0]["messages"][1]
    assert first["meta"] == {"id": 1}
    assert second["messages"] == ROWS[1]["messages"]


def test_texts_are_masked_too(tmp_path):
    path, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps({"text": "write to ann@example.com"}) + "\n")
    assert run(path, "--mask", out).exit_code == 0
    assert json.loads(out.read_text())["text"] == "write to [EMAIL_1]"


def test_an_existing_file_is_not_replaced(chats, tmp_path):
    out = tmp_path / "masked.jsonl"
    out.write_text("before")
    assert run(chats, "--mask", out).exit_code != 0
    assert out.read_text() == "before"
