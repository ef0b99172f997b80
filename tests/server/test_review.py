"""`/v1/review`: the order of the queue, verdicts, agreement, and who may review."""

import httpx
import pytest

from turnwise.core.access import Principal
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """The URL of a server with keys, the headers of each role, and its services."""
    keys = SqliteKeyStore(tmp_path_factory.mktemp("keys") / "keys.db")
    headers = {role: {"Authorization": f"Bearer {keys.create(role, role=role)}"} for role in ("user", "agent", "admin")}
    services = {"scripted": ScriptedChatService()}
    with serve_in_thread(create_app(services, default="scripted", keys=keys)) as url:
        yield url, headers, services


@pytest.fixture
def store(office):
    opened = open_store("sqlite:///:memory:")
    office[2]["scripted"] = ScriptedChatService(store=opened)
    yield opened
    opened.close()


@pytest.fixture
def call(office, store):
    url, headers, _ = office

    def send(method, path="", body=None, status=200, role="agent", **params):
        answer = httpx.request(method, f"{url}/v1/review{path}", json=body, params=params, headers=headers[role])
        assert answer.status_code == status, answer.text
        return answer.json()

    return send


@pytest.fixture
def add_answer(store):
    own = store.for_principal(Principal("user", "user"))

    def add(text, *ratings, consent="full", **meta):
        id = own.create(title="", model="m").id
        own.append(id, [Message("user", f"{text}?")], {"consent": consent})
        meta = {"finish": "stop", "model": "m", "consent": consent, **meta}
        (answer,) = own.append(id, [Message("assistant", text)], meta)
        for number, rating in enumerate(ratings):
            own.feedback.add(AnswerReference("message", answer), NewFeedback(rating, user=f"person {number}"))
        return f"message:{answer}"

    return add


def test_the_queue_begins_with_disputed_answers_and_ends_with_off_topic_ones(add_answer, call):
    add_answer("liked", 1)
    add_answer("sure", mean_logprob=-0.2)
    add_answer("off topic", service={"decision": "refusal:off_topic"})
    add_answer("uncertain", mean_logprob=-2.0)
    add_answer("most uncertain", mean_logprob=-3.0)
    add_answer("disliked", -1)
    add_answer("disputed", 1, -1)
    add_answer("private", -1, consent="metadata")
    items = call("GET")["data"]
    assert [(item["answer"]["content"], item["reason"]) for item in items] == [
        ("disputed", "disagreement"), ("disliked", "disliked"), ("most uncertain", "uncertain"),
        ("uncertain", "uncertain"), ("off topic", "off_topic"),
    ]  # fmt: skip
    assert items[0]["history"] == [{"role": "user", "content": "disputed?"}]
    assert [rating["rating"] for rating in items[0]["ratings"]] == ["up", "down"]
    assert items[2]["mean_logprob"] == -3.0
    assert [item["answer"]["content"] for item in call("GET", limit=2)["data"]] == ["disputed", "disliked"]


def test_a_rating_that_was_changed_is_not_a_disagreement(store, add_answer, call):
    answer = add_answer("changed", 1)
    own = store.for_principal(Principal("user", "user"))
    own.feedback.add(AnswerReference.parse(answer), NewFeedback(-1, user="person 0"))
    assert [item["reason"] for item in call("GET")["data"]] == ["disliked"]


def test_a_verdict_is_feedback_of_a_reviewer_and_two_equal_ones_end_the_review(store, add_answer, call):
    answer = add_answer("disliked", -1)
    verdict = {"answer": answer, "rating": "down", "correction": "Better.", "tags": ["wrong"], "reviewer": "Eve"}
    given = call("POST", body=verdict)
    assert (given["role"], given["user"], given["tags"]) == ("reviewer", "Eve", ["wrong"])
    assert call("GET", reviewer="Eve")["data"] == []
    (item,) = call("GET", reviewer="Bob")["data"]
    assert (item["num_reviews"], item["better_answers"]) == (1, ["Better."])
    call("POST", body={"answer": answer, "rating": "down", "reviewer": "Bob"})
    assert call("GET", reviewer="Cy")["data"] == []
    (collected,) = store.collected_answers.answers()
    assert {"key:agent/user:Eve", "key:agent/user:Bob"} <= collected.contributors


def test_a_third_reviewer_decides_if_two_disagree(add_answer, call):
    answer = add_answer("disliked", -1)
    for reviewer, rating in (("Eve", "up"), ("Bob", "down")):
        call("POST", body={"answer": answer, "rating": rating, "reviewer": reviewer})
    assert [item["id"] for item in call("GET", reviewer="Cy")["data"]] == [answer]
    call("POST", body={"answer": answer, "rating": "up", "reviewer": "Cy"})
    assert call("GET", reviewer="Dan")["data"] == []


def test_the_agreement_of_two_reviewers_is_shown(add_answer, call):
    assert call("GET", "/agreement")["data"] == []
    pairs = [("up", "up"), ("up", "down"), ("down", "down"), ("down", "down")]
    for number, ratings in enumerate(pairs):
        answer = add_answer(f"answer {number}", -1)
        for reviewer, rating in zip(("Bob", "Eve"), ratings, strict=True):
            call("POST", body={"answer": answer, "rating": rating, "reviewer": reviewer})
    assert call("GET", "/agreement")["data"] == [
        {"reviewers": ["key:agent/user:Bob", "key:agent/user:Eve"], "num_answers": 4, "share": 0.75, "kappa": 0.5}
    ]


def test_only_agents_and_admins_review_and_only_answers_with_full_consent(add_answer, call):
    answer, private = add_answer("disliked", -1), add_answer("private", consent="metadata")
    call("GET", role="user", status=403)
    call("POST", role="user", status=403, body={"answer": answer, "rating": "up"})
    assert len(call("GET", role="admin")["data"]) == 1
    call("POST", status=404, body={"answer": private, "rating": "up"})
    call("POST", status=404, body={"answer": "message:msg_x", "rating": "up"})
    assert call("POST", status=400, body={"answer": "x", "rating": "up"})["error"]["param"] == "answer"
    assert call("POST", status=400, body={"answer": answer})["error"]["param"] == "rating"
