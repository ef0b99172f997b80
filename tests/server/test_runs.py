"""`/v1/runs` over a real socket, with a manager that keeps runs in memory."""

import threading
import time

import httpx
import pytest

from run_stand_ins import PLAN, RunStandIn, training_events
from turnwise.core.runs import EvaluationOptions, TrainingOptions
from turnwise.server.app import create_app
from turnwise.server.routes.improvements import report_policy
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

TRAINING = {"dataset": "chats.jsonl", "base_model": "tiny"}


@pytest.fixture
def manager():
    return RunStandIn()


@pytest.fixture
def url(manager):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted", runs=manager)) as address:
        yield f"{address}/v1/runs"


def test_the_list_has_the_runs_and_what_new_ones_can_name(url, manager):
    manager.add(title="first", state="failed", reason="No memory.")
    manager.add(title="second", kind="evaluation")
    body = httpx.get(url).raise_for_status().json()
    assert [(run["title"], run["kind"], run["state"], run["reason"]) for run in body["data"]] == [
        ("second", "evaluation", "running", None), ("first", "training", "failed", "No memory.")
    ]  # fmt: skip
    assert [(model["name"], model["methods"]) for model in body["models"]] == [
        ("tiny", ["full", "lora"]), ("assistant", ["lora"])
    ]  # fmt: skip
    assert (body["datasets"], body["rated_answers"]) == (["chats.jsonl", "shop.jsonl"], 12)


def test_a_training_and_an_evaluation_are_started_with_their_options(url, manager):
    training = TRAINING | {"minutes": 5, "method": "lora", "replay_ratio": 0.5, "title": "Mine"}
    assert httpx.post(url, json={"training": training}).raise_for_status().json()["title"] == "Mine"
    httpx.post(url, json={"training": {"base_model": "tiny"}}).raise_for_status()
    httpx.post(url, json={"evaluation": {"dataset": "shop.jsonl", "model": "tiny"}}).raise_for_status()
    assert manager.started == [
        TrainingOptions(
            "chats.jsonl", "tiny", method="lora", epochs=None, minutes=5, replay_ratio=0.5, title="Mine"
        ),
        TrainingOptions(None, "tiny"),
        EvaluationOptions("shop.jsonl", "tiny"),
    ]  # fmt: skip


def test_a_plan_starts_nothing(url, manager):
    assert httpx.post(f"{url}/plan", json=TRAINING).raise_for_status().json()["figures"] == PLAN
    assert manager.list() == []
    manager.error = "The data has no replies."
    response = httpx.post(f"{url}/plan", json=TRAINING)
    assert (response.status_code, response.json()["error"]["message"]) == (400, "The data has no replies.")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "training"),
        ({"training": TRAINING, "evaluation": {"dataset": "a", "model": "b"}}, "training"),
        ({"training": TRAINING | {"out": "/tmp/x"}}, "training.out"),
        ({"training": TRAINING | {"objective": "sft:beta=1"}}, "training.objective"),
        ({"training": TRAINING | {"method": "--help"}}, "training.method"),
        ({"training": TRAINING | {"batch_size": "8"}}, "training.batch_size"),
        ({"training": TRAINING | {"learning_rate": 0}}, "training.learning_rate"),
        ({"training": TRAINING | {"epochs": 1e9}}, "training.epochs"),
        ({"evaluation": {"dataset": "a", "model": "b", "limit": 0}}, "evaluation.limit"),
        ({"evaluation": {"dataset": "", "model": "b"}}, "evaluation.dataset"),
    ],
)
def test_what_is_no_option_is_refused(url, manager, body, param):
    response = httpx.post(url, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert manager.started == []


def test_the_progress_continues_where_the_last_response_ended(url, manager):
    id = manager.add()
    manager.events[id] = training_events(steps=3)
    first = httpx.get(f"{url}/{id}/progress").raise_for_status().json()
    assert [event["event"] for event in first["data"][:3]] == ["start", "validation", "samples"]
    again = httpx.get(f"{url}/{id}/progress", params={"after": first["position"]}).json()
    assert (again["data"], again["position"]) == ([], first["position"])


def test_a_request_for_progress_waits_for_the_next_event(url, manager):
    id = manager.add()
    threading.Timer(0.5, lambda: manager.events[id].append({"event": "trained"})).start()
    start = time.monotonic()
    body = httpx.get(f"{url}/{id}/progress", params={"wait": 20}, timeout=30).json()
    assert body["data"] == [{"event": "trained"}]
    assert 0.4 < time.monotonic() - start < 15
    manager.change(id, state="complete")
    assert httpx.get(f"{url}/{id}/progress", params={"after": 1, "wait": 20}).json()["run"]["state"] == "complete"


def test_a_run_is_stopped_resumed_served_and_deleted(url, manager):
    id = manager.add()
    assert httpx.post(f"{url}/{id}/stop").json()["state"] == "stopped"
    conflict = httpx.post(f"{url}/{id}/stop")
    assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "run_conflict")
    assert httpx.post(f"{url}/{id}/resume").json()["state"] == "waiting"
    assert httpx.post(f"{url}/{id}/serve").json()["model"] == "scripted"
    assert httpx.delete(f"{url}/{id}").json() == {"id": id, "object": "run.deleted", "deleted": True}
    assert httpx.get(f"{url}/{id}").status_code == 404


def test_a_report_has_a_policy_of_its_own(url, manager):
    id = manager.add(state="complete", has_report=True)
    response = httpx.get(f"{url}/{id}/report")
    assert response.headers["content-security-policy"] == report_policy(response.text)
    assert response.headers["cache-control"] == "no-store"
    assert httpx.get(f"{url}/{manager.add()}/report").status_code == 404


def test_a_server_without_runs_has_an_empty_list(manager):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as address:
        assert httpx.get(f"{address}/v1/runs").json()["data"] == []
        assert httpx.post(f"{address}/v1/runs", json={"training": TRAINING}).status_code == 404
        assert httpx.get(f"{address}/v1/runs/x").status_code == 404


def test_only_the_key_of_an_admin_starts_runs(manager, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    headers = {role: {"Authorization": f"Bearer {keys.create(role, role=role)}"} for role in ("user", "agent", "admin")}
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", runs=manager, keys=keys)
    with serve_in_thread(app) as address:
        for role in ("user", "agent"):
            response = httpx.post(f"{address}/v1/runs", json={"training": TRAINING}, headers=headers[role])
            assert response.status_code == 403
        assert manager.started == []
        httpx.post(f"{address}/v1/runs", json={"training": TRAINING}, headers=headers["admin"]).raise_for_status()


def test_another_web_site_starts_no_run(url, manager):
    response = httpx.post(url, json={"training": TRAINING}, headers={"Origin": "https://evil.example"})
    assert response.status_code == 403
    assert manager.started == []
