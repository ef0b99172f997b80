"""Export, erasure and retention. No byte of an erased text is left in any file, also after interruptions."""

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_stand_ins import WordEncoder, add
from turnwise.app.erasers import ERASERS
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.personal_data import (
    daily_retention,
    delete_old_data,
    describe_counts,
    erase_data,
    export_data,
    find_subject,
    write_export,
)
from turnwise.core.access import Principal
from turnwise.core.data_subjects import DataSubject
from turnwise.core.errors import InvalidParameter, NotFound, Unavailable
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.core.settings import Settings
from turnwise.core.stored_completions import StoredCompletion
from turnwise.core.stored_responses import StoredResponse
from turnwise.retrieval.tantivy_files import count_deleted
from turnwise.store import open_knowledge_store, open_response_cache, open_store

ERASE_PROGRAM = """
from turnwise.app.personal_data import erase_data
from turnwise.app.stores import open_required_store
from turnwise.core.data_subjects import DataSubject

with open_required_store(None) as store:
    print("started", flush=True)
    erase_data(DataSubject("ada"), store)
    print("erased", flush=True)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def store(home):
    opened = open_store(Settings.from_environment().store_url)
    yield opened
    opened.close()


def plant(store, owner, user, mark):
    """A record of every kind, with the text `mark` in each text; returns the id of an answer."""
    own = store.for_principal(Principal(owner, "user" if owner else "admin"))
    id = own.create(title=f"{mark} title", model="m").id
    person = {"consent": "full", **({"user": user} if user else {})}
    own.ensure_branch(id, [Message("user", f"{mark} question")], meta=person)
    (answer,) = own.append(id, [Message("assistant", f"{mark} answer")], {"finish": "stop", "model": "m", **person})
    own.handoffs.open(HandoffRequest(id, summary=f"{mark} summary"))
    completion, response = f"chatcmpl-{mark}", f"resp_{mark}"
    body = {"choices": [{"message": {"content": f"{mark} choice"}}]}
    own.completions.add(
        StoredCompletion(
            completion, int(time.time()), "m", ({"role": "user", "content": f"{mark} prompt"},), {}, body, {},
            user=user, consent="full",
        )
    )  # fmt: skip
    own.responses.add(StoredResponse(response, int(time.time()), None, ({"text": f"{mark} input"},), {}, user=user))
    own.feedback.add(AnswerReference("message", answer), NewFeedback(-1, f"{mark} correction", user=user))
    own.feedback.add(AnswerReference("completion", completion), NewFeedback(-1, comment=f"{mark} comment", user=user))
    return answer


def open_shop(home):
    """The knowledge base "shop", to be closed."""
    folder = home / "knowledge" / "shop"
    return closing(KnowledgeBase(folder, open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}"), WordEncoder()))


def plant_elsewhere(home, owner, mark):
    """An uploaded document with its indexes, an entry of the evaluation cache, and a typed line."""
    from knowledge_stand_ins import WordEncoder
    from turnwise.app.knowledge.knowledge_base import KnowledgeBase

    folder = home / "knowledge" / "shop"
    with closing(
        KnowledgeBase(folder, open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}"), WordEncoder())
    ) as base:
        add(base.store, f"{mark} source", f"{mark} passage", f"{mark} more", scope=owner)
        base.update_lexical()
        base.embed()
    with closing(open_response_cache(Settings.from_environment().evaluations_url)) as cache:
        cache.put(mark, {"text": f"{mark} output"})
    with (home / "history").open("a", encoding="utf-8") as history:
        history.write(f"\n# 2026-01-01\n+{mark} line\n")


def files_with(home, mark):
    """Names of the files in which the bytes occur."""
    return sorted(
        str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()
    )


def test_nothing_of_an_erased_key_is_left_in_any_file(home, store):
    plant(store, "ada", "ann", "AdaText")
    plant(store, "bob", None, "BobText")
    plant_elsewhere(home, "ada", "AdaText")
    plant_elsewhere(home, "bob", "BobText")
    before = files_with(home, "AdaText")
    assert {"conversations.db-wal", "evaluations.db", "history"} < set(before)
    assert "knowledge/shop/knowledge.db" in before
    counts = erase_data(DataSubject("ada"), store)
    assert counts == {
        "documents": 1,
        "trainings": 0,
        "conversations": 1,
        "completions": 1,
        "responses": 1,
        "feedback": 0,
        "comparisons": 0,
        "folders": 0,
    }
    assert files_with(home, "AdaText") == ["history"], "it belongs to the person at this machine"
    assert store.collected_answers.contributors() == ["key:bob"]
    assert {"conversations.db", "knowledge/shop/knowledge.db"} < set(files_with(home, "BobText"))
    erase_data(DataSubject(None), store)
    assert not (home / "history").exists()


def test_vectors_and_words_of_erased_documents_are_dropped_and_others_stay(home, store):
    plant_elsewhere(home, "ada", "AdaText")
    plant_elsewhere(home, "bob", "BobText")
    (ids,) = (home / "knowledge" / "shop" / "dense").glob("*/ids.i64")
    size = ids.stat().st_size
    erase_data(DataSubject("ada"), store)
    assert ids.stat().st_size == size // 2
    with open_shop(home) as base:
        status = base.status()
        assert (status.num_passages, status.num_vectors, base.problems()) == (2, 2, [])
        assert count_deleted(base.lexical_folder) == (3, 0), "two passages and the position"
        assert len(base.index.search_scope("AdaText", 5, "ada").passages) == 0
        assert len(base.index.search_scope("BobText", 5, "bob").passages) == 2


def test_only_the_named_user_of_a_key_is_erased(home, store):
    ann, bob = plant(store, "shop", "ann", "AnnText"), plant(store, "shop", "bob", "BobText")
    store.for_principal(Principal("shop", "user")).feedback.add(
        AnswerReference("message", bob), NewFeedback(comment="AnnText about Bob", user="ann")
    )
    assert files_with(home, "AnnText")
    counts = erase_data(find_subject(store, "ann", None), store)
    assert files_with(home, "AnnText") == []
    assert (counts["conversations"], counts["feedback"]) == (1, 1)
    with pytest.raises(NotFound):
        store.feedback.of_answer(AnswerReference("message", ann))
    assert len(store.feedback.of_answer(AnswerReference("message", bob))) == 1


def test_a_person_is_found_by_user_key_or_locally(store):
    for owner, user in (("shop", "ann"), ("shop", "bob"), (None, "bob")):
        plant(store, owner, user, f"{owner}{user}")
    assert find_subject(store, "ann", None) == DataSubject("shop", "ann")
    assert find_subject(store, "bob", "shop") == DataSubject("shop", "bob")
    assert find_subject(store, None, None, is_local=True) == DataSubject(None)
    with pytest.raises(InvalidParameter, match="Add one of: --local, --key shop"):
        find_subject(store, "bob", None)
    with pytest.raises(NotFound, match="Nothing is stored of a user 'eve'"):
        find_subject(store, "eve", None)
    for arguments in ((None, None, False), (None, "shop", True)):
        with pytest.raises(InvalidParameter):
            find_subject(store, *arguments[:2], is_local=arguments[2])


def test_a_subject_includes_its_users():
    shop, ann = DataSubject("shop"), DataSubject("shop", "ann")
    assert [shop.includes(id) for id in ("key:shop", "key:shop/user:ann", "key:shop2", "local")] == [1, 1, 0, 0]
    assert [ann.includes(id) for id in ("key:shop", "key:shop/user:ann", "key:shop/user:anna")] == [0, 1, 0]
    assert DataSubject(None).includes("local/user:x")


def test_an_export_has_every_text_of_the_person_and_of_nobody_else(home, store, tmp_path):
    plant(store, "ada", "ann", "AdaText")
    plant(store, "bob", None, "BobText")
    plant_elsewhere(home, "ada", "AdaText")
    path = tmp_path / "out" / "ada.json"
    write_export(export_data(DataSubject("ada"), store), path)
    text = path.read_text(encoding="utf-8")
    for noun in ("title", "question", "answer", "summary", "choice", "prompt", "input", "correction", "comment",
                 "source", "passage", "more"):  # fmt: skip
        assert f"AdaText {noun}" in text
    assert "BobText" not in text
    exported = json.loads(text)
    assert exported["subject"] == "key:ada"
    assert set(exported["conversations"]) == {"conversations", "completions", "responses", "feedback"}
    assert set(exported["uploaded_documents"]) == {"shop"}
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_old_records_are_deleted_and_new_ones_stay(home, store):
    old, new = plant(store, "ada", None, "OldText"), plant(store, "ada", None, "NewText")
    with store._database.write_transaction() as connection:
        for table in ("conversations", "completions", "responses"):
            column = "updated" if table == "conversations" else "created"
            connection.execute(f"UPDATE {table} SET {column} = {column} - 90 * 86400 WHERE number = 1")
    assert describe_counts(delete_old_data(store, 91)) == "nothing"
    assert describe_counts(delete_old_data(store, 89)) == "1 conversations, 1 completions, 1 responses"
    assert files_with(home, "OldText") == []
    with pytest.raises(NotFound):
        store.feedback.of_answer(AnswerReference("message", old))
    assert store.feedback.of_answer(AnswerReference("message", new))
    with pytest.raises(InvalidParameter, match="above 0"):
        delete_old_data(store, 0)


def test_a_server_deletes_old_records_at_its_start(store):
    plant(store, "ada", None, "OldText")
    with store._database.write_transaction() as connection:
        connection.execute("UPDATE conversations SET updated = updated - 90 * 86400")
    with daily_retention(store, 30):
        deadline = time.monotonic() + 30
        while store.list() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert store.list() == []


def test_a_reader_that_keeps_deleted_texts_in_the_log_is_reported(home, store, monkeypatch):
    monkeypatch.setattr("turnwise.store.sqlite.database.LOCK_SECONDS", 0.2)
    plant(store, "ada", None, "AdaText")
    with closing(sqlite3.connect(home / "conversations.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM messages").fetchone()
        with pytest.raises(Unavailable, match="Deleted texts are still in its log"):
            erase_data(DataSubject("ada"), store)
        assert files_with(home, "AdaText")
    erase_data(DataSubject("ada"), store)
    assert files_with(home, "AdaText") == []


SUBJECTS = [(owner, user) for owner in (None, "a", "b") for user in (None, "x", "y")]


@pytest.mark.costly
@settings(max_examples=30)
@given(st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=8), st.sampled_from(SUBJECTS))
def test_an_erasure_empties_the_export_of_the_subject_and_changes_no_other_one(planted, erased):
    with closing(open_store("sqlite:///:memory:")) as memory:
        for number, (owner, user) in enumerate(planted):
            plant(memory, owner, user, f"{number}")
        subject, data = DataSubject(*erased), memory.personal_data
        untouched = [DataSubject(*other) for other in SUBJECTS if other[0] != subject.owner]
        if subject.user is not None:
            untouched += [DataSubject(subject.owner, user) for user in "xy" if user != subject.user]
        before = [data.export(other) for other in untouched]
        counts = data.erase(subject)
        assert data.export(subject) == {}
        assert [data.export(other) for other in untouched] == before
        matching = [entry for entry in planted if entry == erased or (erased[1] is None and entry[0] == erased[0])]
        assert counts["conversations"] == counts["completions"] == counts["responses"] == len(matching)
        assert not any(subject.includes(id) for id in memory.collected_answers.contributors())
        assert not any(data.erase(subject).values()), "it can be repeated"


def test_every_eraser_can_run_without_any_file(home, store):
    assert set(ERASERS.names()) >= {"conversations", "evaluation_cache", "terminal_history", "uploaded_documents"}
    for eraser in ERASERS.all().values():
        assert not eraser.export(DataSubject("nobody"), store)
        assert not any(eraser.erase(DataSubject("nobody"), store).values())


@pytest.mark.slow
def test_an_erasure_that_is_killed_completes_when_it_is_repeated(tmp_path, monkeypatch):
    original, home = tmp_path / "original", tmp_path / "home"
    monkeypatch.setenv("TURNWISE_HOME", str(original))
    store = open_store(Settings.from_environment().store_url)
    for number in range(120):
        plant(store, "ada", "ann", f"AdaText{number}")
    plant(store, "bob", None, "BobText")
    store.close()
    plant_elsewhere(original, "ada", "AdaText")
    monkeypatch.setenv("TURNWISE_HOME", str(home))
    num_interrupted = 0
    for delay in (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.3, 0.5):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(original, home)
        with subprocess.Popen([sys.executable, "-c", ERASE_PROGRAM], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "started\n"
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            num_interrupted += child.stdout.read() == ""
        subprocess.run([sys.executable, "-c", ERASE_PROGRAM], check=True, stdout=subprocess.DEVNULL)
        assert files_with(home, "AdaText") == ["history"]
        assert "conversations.db" in files_with(home, "BobText")
    assert num_interrupted > 2
