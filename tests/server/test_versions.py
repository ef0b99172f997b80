"""`/v1/versions`, and which version answers over HTTP."""

import time
from contextlib import contextmanager

import httpx
import pytest

from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.core.model_versions import NewVersion, VersionOutcomes
from turnwise.server.app import create_app
from turnwise.server.middleware.concurrency_limit import ServerLimits
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread
from version_stand_ins import UncheckedControl, open_scripted_version, registry_with

HEADER = "x-turnwise-version"


class Site:
    """A server with the model `shop`, which has three versions, and the model `plain` without versions."""

    def __init__(self, url, registry, supervisor, store):
        self.url, self.registry, self.supervisor, self.store = url, registry, supervisor, store

    def request(self, method, path, body=None, key=None):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=20)

    def chat(self, model="shop", text="Hello", **fields):
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.request("POST", "/v1/chat/completions", body)

    def promote(self, number, state="serving", share=0.0):
        self.registry.change_state("shop", number, state, actor="person", reason="A test.", share=share)
        self.settle()

    def settle(self):
        """Let the supervisor load what it needs; its own thread does not run."""
        self.supervisor.step()
        for future in list(self.supervisor._pool._loading.values()):
            future.exception(10)
        self.supervisor.step()


@contextmanager
def open_site(keys=None, delay=0.0, limits=ServerLimits()):
    store = open_store("sqlite:///:memory:")
    registry = registry_with("shop", "one", "two", "damaged")
    supervisor = VersionSupervisor(registry, "shop", open_scripted_version(store, delay), flush_seconds=0)
    services = {"shop": supervisor.service, "plain": ScriptedChatService(name="plain", store=store)}
    control = UncheckedControl(registry)
    with serve_in_thread(
        create_app(services, default="shop", version_control=control, keys=keys, limits=limits)
    ) as url:
        yield Site(url, registry, supervisor, store)
    supervisor._pool.close()
    store.close()


@pytest.fixture
def site():
    with open_site() as site:
        yield site


class TestRouting:
    def test_the_header_and_the_fingerprint_are_those_of_the_version_that_answers(self, site):
        for stream in (False, True):
            answer = site.chat(stream=stream)
            assert answer.headers[HEADER] == "shop@1"
            assert "I am 1" in answer.text
            assert "fp_1" in answer.text
        site.promote(2)
        answer = site.chat()
        assert (answer.headers[HEADER], answer.json()["system_fingerprint"]) == ("shop@2", "fp_2")
        assert answer.json()["model"] == "shop"

    def test_names_and_aliases(self, site):
        site.promote(2, "canary", 0.001)
        names = ("shop", "shop@1", "shop@2", "stable", "latest")
        answers = [site.chat(model).json()["choices"][0]["message"]["content"] for model in names]
        assert answers == ["I am 1", "I am 1", "I am 2", "I am 1", "I am 1"]

    def test_the_alias_latest_is_routed_as_the_name_is_and_stable_is_not(self, site):
        site.promote(2, "canary", 0.5)
        users = [f"user{number}" for number in range(24)]
        versions = {name: [site.chat(name, user=user).headers[HEADER] for user in users] for name in
                    ("shop", "latest", "stable")}  # fmt: skip
        assert versions["latest"] == versions["shop"]
        assert set(versions["shop"]) == {"shop@1", "shop@2"}
        assert set(versions["stable"]) == {"shop@1"}
        site.supervisor.step()
        counts = [counts.answers for counts in site.registry.outcomes("shop").values()]
        assert sum(counts) == len(users), "one answer of each conversation"

    def test_a_look_at_the_next_token_is_no_answer_of_a_version(self, site):
        site.promote(2, "canary", 0.5)
        for number in range(8):
            body = {"model": "shop", "messages": [{"role": "user", "content": "Hello"}], "user": f"user{number}"}
            assert site.request("POST", "/v1/next_token", body).headers[HEADER] in ("shop@1", "shop@2")
        site.chat()
        site.supervisor.step()
        assert sum(counts.answers for counts in site.registry.outcomes("shop").values()) == 1

    @pytest.mark.parametrize(("state", "share"), [("canary", 0.5), ("shadow", 0.0)])
    def test_a_title_is_written_by_the_version_that_answered_and_is_no_answer_of_it(self, site, state, share):
        site.promote(2, state, share)
        live = site.supervisor.service._router.state.live
        num_conversations = 6 if state == "canary" else 1
        for number in range(num_conversations):
            id = site.request("POST", "/v1/conversations", {"title": "", "auto_title": True}).json()["id"]
            answering = site.chat(conversation_id=id, text=f"Question {number}?").headers[HEADER]
            requests = live[int(answering.removeprefix("shop@"))].service.requests
            num_requests = len(requests)
            deadline = time.monotonic() + 5
            while len(requests) == num_requests and time.monotonic() < deadline:
                time.sleep(0.01)
            assert requests[-1].is_internal
            assert f"Question {number}?" in requests[-1].messages[0].content
        time.sleep(0.2)  # a copy would follow
        site.supervisor.step()
        counts = {number: outcomes.answers for number, outcomes in site.registry.outcomes("shop").items()}
        assert sum(counts.values()) == (num_conversations if state == "canary" else 2), "the answer and its copy"

    @pytest.mark.parametrize("model", ["shop@3", "shop@x", "plain@1", "shop@", "@1", "shop@" + 5_000 * "1"])
    def test_a_version_that_does_not_answer_is_not_found(self, site, model):
        answer = site.chat(model)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
        assert HEADER not in answer.headers

    def test_a_model_without_versions_has_no_header(self, site):
        assert HEADER not in site.chat("plain").headers

    def test_each_user_keeps_the_version_through_a_canary(self, site):
        site.promote(2, "canary", 0.5)
        users = [f"user{number}" for number in range(24)]
        first = {user: site.chat(user=user).headers[HEADER] for user in users}
        assert set(first.values()) == {"shop@1", "shop@2"}
        site.promote(2, "canary", 0.9)
        later = {user: site.chat(user=user).headers[HEADER] for user in users}
        assert all(later[user] == "shop@2" for user in users if first[user] == "shop@2")

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/completions", {"model": "shop", "prompt": "Once"}),
            ("/v1/responses", {"model": "shop", "input": "Hello"}),
        ],
    )
    def test_other_routes_route_too(self, site, path, body):
        site.promote(2)
        answer = site.request("POST", path, body)
        assert answer.headers[HEADER] == "shop@2"
        assert "I am 2" in answer.text

    def test_versions_are_listed_as_models(self, site):
        site.promote(2, "canary", 0.5)
        models = {entry["id"]: entry["version_of"] for entry in site.request("GET", "/v1/models").json()["data"]}
        assert models == {"plain": None, "shop": None, "shop@1": "shop", "shop@2": "shop"}
        card = site.request("GET", "/v1/models/shop@2").json()
        assert (card["id"], card["version_of"]) == ("shop@2", "shop")
        assert site.request("GET", "/v1/models/latest").json()["id"] == "shop"

    def test_a_version_that_is_replaced_meanwhile_is_left_out_of_the_list(self, site, monkeypatch):
        before = site.supervisor.service.live_versions()
        site.promote(2)
        monkeypatch.setattr(site.supervisor.service, "live_versions", lambda: before)
        ids = [entry["id"] for entry in site.request("GET", "/v1/models").json()["data"]]
        assert ids == ["plain", "shop"]

    def test_requests_release_their_version(self, site):
        site.promote(2)
        for stream in (False, True):
            site.chat(stream=stream)
        site.chat(temperature=-1)
        assert site.supervisor.router.state.serving.num_requests == 0


class TestStorage:
    def test_a_stored_completion_has_the_version_and_its_response_does_not(self, site):
        sent = site.chat(store=True).json()
        stored = site.store.completions.get(sent["id"])
        assert (stored.version, stored.weights_sha256) == ("shop@1", "digest-1")
        shown = site.request("GET", f"/v1/chat/completions/{sent['id']}").json()
        assert not {"version", "weights", "weights_sha256"} & {*sent, *shown}

    def test_ratings_count_for_the_version(self, site):
        id = site.chat(store=True).json()["id"]
        site.promote(2, "canary", 0.001)
        for rating in ("down", "up", "down"):
            site.request("POST", "/v1/feedback", {"completion_id": id, "rating": rating})
        site.request("POST", "/v1/feedback", {"completion_id": id, "comment": "Hm."})
        site.supervisor.step()
        assert site.registry.outcomes("shop") == {1: VersionOutcomes(rated=1, disliked=1)}

    def test_ratings_of_answers_whose_version_was_named_do_not_count(self, site):
        """Whoever chooses a version is no random sample, and a tester could end a canary."""
        site.promote(2, "canary", 0.001)
        for model in ("shop@2", "shop@1", "stable"):
            id = site.chat(model, store=True).json()["id"]
            assert site.request("POST", "/v1/feedback", {"completion_id": id, "rating": "down"}).status_code == 200
        conversation = site.request("POST", "/v1/conversations", {}).json()["id"]
        site.chat("shop@2", conversation_id=conversation)
        message = site.request("GET", f"/v1/conversations/{conversation}").json()["messages"][-1]["id"]
        assert site.request("POST", "/v1/feedback", {"message_id": message, "rating": "down"}).status_code == 200
        site.supervisor.step()
        assert site.registry.outcomes("shop") == {}

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_answer_that_reached_the_time_limit_of_the_server_has_failed(self, stream):
        with open_site(delay=30, limits=ServerLimits(request_timeout=0.05)) as site:
            site.promote(2, "canary", 0.001)
            site.chat(stream=stream)
            for _ in range(1000):
                site.supervisor.step()
                if site.registry.outcomes("shop"):
                    break
                time.sleep(0.01)
            assert site.registry.outcomes("shop") == {1: VersionOutcomes(answers=1, errors=1)}

    def test_an_answer_is_rated_once_whatever_users_a_client_names(self, site):
        id = site.chat(store=True).json()["id"]
        site.promote(2, "canary", 0.001)
        for number in range(20):
            body = {"completion_id": id, "rating": "down", "user": f"user{number}"}
            assert site.request("POST", "/v1/feedback", body).status_code == 200
        site.supervisor.step()
        assert site.registry.outcomes("shop") == {1: VersionOutcomes(rated=1, disliked=1)}


class TestAdministration:
    def test_the_list_has_states_and_figures(self, site):
        site.promote(2, "canary", 0.25)
        site.promote(3, "shadow")
        site.registry.record_outcomes("shop", {2: VersionOutcomes(answers=4, errors=1)})
        listed = site.request("GET", "/v1/versions").json()
        assert listed["revision"] == site.registry.revision()
        first, second, third = listed["data"]
        assert (first["id"], first["state"], first["loaded"], first["error"]) == ("shop@1", "serving", True, None)
        assert (second["state"], second["share"], second["outcomes"]["errors"]) == ("canary", 0.25, 1)
        assert (third["state"], third["loaded"], third["error"]) == ("shadow", False, "The weights are damaged.")

    def test_promotion_and_roll_back(self, site):
        body = {"reason": "It is better.", "force": True}
        promoted = site.request("POST", "/v1/versions/shop/2/promote", body)
        assert (promoted.status_code, promoted.json()["state"]) == (200, "serving")
        site.settle()
        assert site.chat().headers[HEADER] == "shop@2"
        assert site.request("POST", "/v1/versions/shop/rollback", {"reason": "It is worse."}).json()["id"] == "shop@1"
        site.settle()
        assert site.chat().headers[HEADER] == "shop@1"
        history = site.request("GET", "/v1/versions/shop/history").json()["data"]
        assert [(event["version"], event["state"]) for event in history[-4:]] == [
            ("shop@1", "retired"), ("shop@2", "serving"), ("shop@2", "retired"), ("shop@1", "serving")
        ]  # fmt: skip
        assert history[-1]["reason"] == "It is worse."
        assert history[-3]["reason"] == "It is better. (forced: it has not passed the gate)"
        later = site.request("GET", f"/v1/versions/shop/history?after={history[-2]['number']}").json()["data"]
        assert later == history[-1:]

    def test_the_list_says_what_a_roll_back_and_a_promotion_would_do(self, site):
        assert site.request("GET", "/v1/versions").json()["rollback"] == {"shop": None}
        site.promote(2)
        listed = site.request("GET", "/v1/versions").json()
        assert listed["rollback"] == {"shop": "shop@1"}
        assert [version["needs_force"] for version in listed["data"]] == [False, False, True], "1 and 2 have served"

    def test_a_version_says_what_it_was_made_from(self, site):
        scorecard = {"headline": {"chrf": 31.5}, "gate": {"passed": True}}
        new = NewVersion("shop", "shop/4", "digest-4", 2, data_sha256={"data/a.jsonl": "1"}, scorecard=scorecard)
        site.registry.add(new, reason="Trained.")
        version = site.request("GET", "/v1/versions").json()["data"][-1]
        assert (version["source"], version["parent"], version["data"]) == ("shop/4", 2, ["data/a.jsonl"])
        assert version["figures"] == {"chrf": 31.5}

    def test_two_versions_are_compared(self, site):
        recipe = "training: {learning_rate: 0.001}"
        new = NewVersion("shop", "shop/4", "digest-4", 2, recipe, {"data/a.jsonl": "1"}, scorecard={"chrf": 31.5})
        site.registry.add(new, reason="Trained.")
        compared = site.request("GET", "/v1/versions/shop/diff?first=1&second=4").json()
        assert (compared["first"], compared["second"]) == ("shop@1", "shop@4")
        assert compared["recipe"] == {"training.learning_rate": [None, 0.001]}
        assert compared["data"] == {"data/a.jsonl": [None, "1"]}
        assert compared["figures"] == {"chrf": [None, 31.5]}
        assert compared["lineage"] == {"parent": [None, 2]}
        assert site.request("GET", "/v1/versions/shop/diff?first=1&second=9").status_code == 404
        assert site.request("GET", "/v1/versions/shop/diff?first=1").status_code == 400

    def test_the_version_that_served_at_a_time(self, site):
        site.promote(2)
        first, *_, last = site.request("GET", "/v1/versions/shop/history").json()["data"]
        for at, version in ((last["time"] + 1, "shop@2"), (first["time"] - 1, None)):
            answer = site.request("GET", f"/v1/versions/shop/serving?at={at}").json()
            assert answer["version"] == version
        assert site.request("GET", "/v1/versions/shop/serving?at=nan").status_code == 400

    @pytest.mark.parametrize("after", [-1, 2**63, 10**30])
    def test_impossible_numbers_of_events_are_rejected(self, site, after):
        assert site.request("GET", f"/v1/versions/shop/history?after={after}").status_code == 400

    def test_a_version_that_has_not_passed_the_gate_needs_force(self, site):
        answer = site.request("POST", "/v1/versions/shop/2/promote", {"reason": "Why not."})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "version_conflict")
        assert site.registry.get("shop", 2).state == "candidate"

    @pytest.mark.parametrize(
        "body",
        [
            {"state": "canary", "reason": "A test.", "force": True},
            {"share": 0.5, "reason": "A test.", "force": True},
            {"state": "canary", "share": 1.0, "reason": "A test.", "force": True},
            {"state": "boss", "reason": "A test."},
            {"reason": ""},
            {},
        ],
    )
    def test_bad_promotions_are_rejected(self, site, body):
        assert site.request("POST", "/v1/versions/shop/2/promote", body).status_code == 400
        assert site.registry.get("shop", 2).state == "candidate"

    @pytest.mark.parametrize("path", ["bank/1/promote", "plain/1/promote", "shop/9/promote", "bank/rollback"])
    def test_unknown_models_and_versions(self, site, path):
        body = {"reason": "A test.", "force": True} if "promote" in path else {"reason": "A test."}
        assert site.request("POST", f"/v1/versions/{path}", body).status_code == 404

    def test_metrics_are_labelled_with_versions(self, site):
        site.promote(2, "canary", 0.001)
        site.promote(3, "shadow")
        site.chat()
        site.chat("shop@2")
        lines = site.request("GET", "/metrics").text.splitlines()
        assert 'turnwise_version_answers_total{finish="stop",model="shop",version="shop@1"} 1.0' in lines
        assert 'turnwise_version_answers_total{finish="stop",model="shop",version="shop@2"} 1.0' in lines
        assert 'turnwise_version_state{model="shop",state="canary",version="shop@2"} 1.0' in lines
        assert 'turnwise_version_load_failed{model="shop",version="shop@3"} 1.0' in lines

    def test_only_admins_see_and_change_versions(self, tmp_path):
        keys = SqliteKeyStore(tmp_path / "keys.db")
        secrets = {role: keys.create(role, role=role) for role in ("user", "agent", "admin")}
        with open_site(keys) as site:
            for role, status in (("user", 403), ("agent", 403), ("admin", 200)):
                for path in ("", "/shop/history", "/shop/diff?first=1&second=2", "/shop/serving?at=0"):
                    assert site.request("GET", f"/v1/versions{path}", key=secrets[role]).status_code == status
                body = {"reason": "A test.", "force": True}
                answer = site.request("POST", "/v1/versions/shop/2/promote", body, key=secrets[role])
                assert answer.status_code == status


def test_pages_link_to_the_versions_of_a_server_that_has_some(site):
    services = {"plain": ScriptedChatService()}
    with serve_in_thread(create_app(services, default="plain", version_control=UncheckedControl(None))) as url:
        assert 'href="/versions"' not in httpx.get(url).text
        services["shop"] = site.supervisor.service
        assert 'href="/versions"' in httpx.get(url).text


def test_a_server_without_versions_has_an_empty_list():
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as url:
        assert httpx.get(f"{url}/v1/versions").json() == {"object": "list", "data": [], "revision": 0, "rollback": {}}
        assert httpx.get(f"{url}/v1/versions/scripted/history").status_code == 404
