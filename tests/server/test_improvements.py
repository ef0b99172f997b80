"""`/v1/improvements`: cycles of the served models and their reports, over a real socket."""

import base64
import hashlib
from contextlib import contextmanager

import httpx
import pytest

from improvement_samples import REPORT, write_cycle
from turnwise.core.directory_lock import lock_directory
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.improve.cycle_reader import CycleReader
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


@pytest.fixture
def serve(tmp_path, store):
    @contextmanager
    def start(**settings):
        service = ScriptedChatService(name="shop", store=store)
        settings = {"improvement": CycleReader(store.collected_answers, tmp_path)} | settings
        with serve_in_thread(create_app({"shop": service}, default="shop", **settings)) as url:
            yield url

    return start


def only_model(url):
    (entry,) = httpx.get(f"{url}/v1/improvements").raise_for_status().json()["data"]
    return entry


def add_correction(store):
    conversation = store.create(title="", model="shop")
    store.append(conversation.id, [Message("user", "Hi")], {"consent": "full"})
    meta = {"finish": "stop", "model": "shop", "consent": "full"}
    (answer,) = store.append(conversation.id, [Message("assistant", "Ho")], meta)
    store.feedback.add(AnswerReference("message", answer), NewFeedback(correction="Hello."))


def test_cycles_are_listed_oldest_first_with_counts_figures_and_reasons(serve, tmp_path):
    write_cycle(tmp_path, "shop", outcome="refused", reason="Refused: chrF did not improve.", version=2)
    write_cycle(tmp_path, "shop", outcome=None, has_report=False)
    with serve() as url:
        model = only_model(url)
    assert (model["model"], model["running"], model["error"]) == ("shop", False, None)
    first, second = model["cycles"]
    assert (first["number"], first["outcome"], first["version"]) == (1, "refused", 2)
    assert first["reason"] == "Refused: chrF did not improve."
    assert (first["answers"], first["new_answers"], first["examples"], first["contributors"]) == (14, 12, 10, 4)
    assert (first["dropped"], first["masked"]) == ({"duplicate": 2}, {"email": 1})
    assert first["figures"]["chrf"] == {"label": "chrF", "value": 31.0, "base_value": 28.0, "num_dialogues": 10}
    assert first["has_report"]
    assert (second["number"], second["outcome"], second["reason"], second["has_report"]) == (2, None, None, False)


def test_new_feedback_is_counted_from_the_start_of_the_last_training_on(serve, store, tmp_path):
    add_correction(store)
    with serve() as url:
        assert only_model(url)["new_answers"] == 1
        write_cycle(tmp_path, "shop", outcome="nothing to learn", started=2e10)
        assert only_model(url)["new_answers"] == 1
        write_cycle(tmp_path, "shop", started=2e10)
        assert only_model(url)["new_answers"] == 0


def test_a_running_cycle_is_shown_while_its_process_holds_the_lock(serve, tmp_path):
    with serve() as url:
        with lock_directory(tmp_path / "shop"):
            assert only_model(url)["running"]
        assert not only_model(url)["running"]


def test_a_damaged_journal_is_an_error_of_its_model(serve, tmp_path):
    folder = write_cycle(tmp_path, "shop")
    (folder / "cycle.json").write_text("{", encoding="utf-8")
    with serve() as url:
        model = only_model(url)
    assert model["cycles"] == []
    assert "cycle.json cannot be read" in model["error"]


def test_cycles_of_a_model_whose_name_only_differs_in_signs_are_left_out(serve, tmp_path):
    write_cycle(tmp_path, "shop")
    write_cycle(tmp_path, "s/hop")
    reader = CycleReader(None, tmp_path)
    assert [len(reader.cycles(name)) for name in ("shop", "s/hop", "s_hop")] == [1, 1, 0]
    assert reader.num_new_answers("shop") is None


class TestReport:
    def test_a_report_allows_only_its_own_style_sheet(self, serve, tmp_path):
        write_cycle(tmp_path, "shop")
        with serve() as url:
            response = httpx.get(f"{url}/v1/improvements/shop/1/report")
        digest = base64.b64encode(hashlib.sha256(b"p { color: green }").digest()).decode()
        assert response.text == REPORT
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-security-policy"] == (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'; sandbox"
        )
        assert response.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("path", ["shop/2", "shop/9", "bank/1", "..%2F..%2Fetc/1", "shop/x"])
    def test_what_does_not_exist_is_an_error(self, serve, tmp_path, path):
        write_cycle(tmp_path, "shop")
        write_cycle(tmp_path, "shop", has_report=False)
        with serve() as url:
            assert httpx.get(f"{url}/v1/improvements/{path}/report").status_code in (400, 404)


def test_only_admins_see_cycles_and_reports(serve, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    secrets = {role: keys.create(role, role=role) for role in ("user", "agent", "admin")}
    write_cycle(tmp_path, "shop")
    with serve(keys=keys) as url:
        for path in ("", "/shop/1/report"):
            for role, status in (("user", 403), ("agent", 403), ("admin", 200)):
                headers = {"authorization": f"Bearer {secrets[role]}"}
                assert httpx.get(f"{url}/v1/improvements{path}", headers=headers).status_code == status
            assert httpx.get(f"{url}/v1/improvements{path}").status_code == 401


def test_a_server_without_cycles_has_an_empty_list(serve):
    with serve(improvement=None) as url:
        assert httpx.get(f"{url}/v1/improvements").json() == {"object": "list", "data": []}
        assert httpx.get(f"{url}/v1/improvements/shop/1/report").status_code == 404
