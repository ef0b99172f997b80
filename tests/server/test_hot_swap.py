"""Versions are swapped under traffic: no request fails, and each answer is that of one version."""

import asyncio
import itertools
import json
import random
import threading
from functools import partial
from pathlib import Path

import httpx
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.app.shared_base_engines import SharedBaseEngines
from turnwise.app.version_serving.version_check import check_answers, record_check
from turnwise.app.version_serving.version_loader import open_version
from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.core.errors import InvalidData, UserError
from turnwise.core.model_versions import NewVersion
from turnwise.core.version_rules import rollback_target
from turnwise.engine.native.library import library
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.models.model_folders import weights_digest
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import serve_in_thread
from version_stand_ins import random_adapter, registry_with

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow,
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]
CLIENTS, ANSWERS = 32, 6
PROMPTS = [
    "Hello!", "Who are you?", "Tell me a joke", "How do I cancel my order?", "What is 3 plus 4?", "I am tired",
    "Where is my order?", "Thank you",
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The bundled model, and two adapters of it that answer differently."""
    root, base = tmp_path_factory.mktemp("versions"), bundled_model_folder()
    return [base, *(random_adapter(root / str(seed), base, seed=seed, strength=0.07) for seed in (1, 2))]


@pytest.fixture(scope="module")
def digests(folders):
    return [weights_digest(folder) for folder in folders]


class Swapper:
    """A server whose model has three versions: a base and two adapters."""

    def __init__(self, folders, digests, store=None):
        self.registry = registry_with("shop", *folders, digests=digests)
        self.library = VersionLibrary(self.registry, Path("none"))
        self.engines = SharedBaseEngines()
        self.store = store

    def open_model(self, folder, name, version):
        return open_chat_service(
            str(folder), name=name, base_engines=self.engines, store=self.store, version=version, max_num_seqs=CLIENTS
        )

    def supervisor(self):
        open_one = partial(open_version, self.library, self.open_model)
        return VersionSupervisor(self.registry, "shop", open_one, poll_seconds=0.02)

    def change_at_random(self, rng):
        """One change of the routing, of any kind."""
        number = rng.choice([version.number for version in self.registry.list("shop") if version.state != "serving"])
        kind = rng.choice(["serving", "canary", "shadow", "roll back"])
        if kind == "roll back":
            if rollback_target(self.registry.list("shop"), self.registry.events("shop")) is None:
                return
            self.registry.roll_back("shop", actor="person", reason="A test.")
        elif self.registry.get("shop", number).state == "retired" and kind != "serving":
            self.registry.change_state("shop", number, "candidate", actor="person", reason="A test.")
        elif self.registry.get("shop", number).state != kind and (kind, self.registry.get("shop", number).state) != (
            "shadow", "canary",
        ):  # fmt: skip
            share = 0.5 if kind == "canary" else 0.0
            self.registry.change_state("shop", number, kind, actor="person", reason="A test.", share=share)


def body(prompt, **fields):
    return {
        "model": "shop", "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 24,
        "min_tokens": 24, "stream": True, **fields,
    }  # fmt: skip


async def stream(client, url, **fields):
    """Text, version and fingerprint of a streamed answer."""
    text, fingerprints = "", set()
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body(**fields)) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                assert "error" not in chunk, chunk
                fingerprints.add(chunk["system_fingerprint"])
                text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    [fingerprint] = fingerprints
    return text, response.headers["x-turnwise-version"], fingerprint


def expected_answers(folders):
    """Greedy answers by version and prompt, each from a server that has this version only."""
    answers = {}
    engines = SharedBaseEngines()
    for number, folder in enumerate(folders, 1):
        with (
            open_chat_service(str(folder), name="shop", base_engines=engines) as service,
            serve_in_thread(create_app({"shop": service}, default="shop")) as url,
            httpx.Client(timeout=60) as client,
        ):
            for prompt in PROMPTS:
                fields = body(prompt, stream=False)
                completion = client.post(f"{url}/v1/chat/completions", json=fields).json()
                answers[f"shop@{number}", prompt] = completion["choices"][0]["message"]["content"]
    return answers


def test_32_streams_during_promotions_canaries_shadows_and_roll_backs(folders, digests):
    expected = expected_answers(folders)
    # Only answers in which the versions differ can show a mixture.
    prompts = [prompt for prompt in PROMPTS if len({expected[f"shop@{number}", prompt] for number in (1, 2, 3)}) == 3]
    assert len(prompts) >= 4
    swapper, rng = Swapper(folders, digests), random.Random(7)
    results = []

    async def client_run(client, url, number, done):
        for round in range(ANSWERS):
            prompt = prompts[(number + round) % len(prompts)]
            results.append((prompt, *await stream(client, url, prompt=prompt, user=f"user{number}")))
        done.append(number)

    async def swap(done):
        count = 0
        while len(done) < CLIENTS:
            swapper.change_at_random(rng)
            count += 1
            await asyncio.sleep(0.03)
        return count

    async def run(url):
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(timeout=120, limits=limits) as client:
            done = []
            clients = [client_run(client, url, number, done) for number in range(CLIENTS)]
            return (await asyncio.gather(swap(done), *clients))[0]

    with swapper.supervisor() as supervisor:
        with serve_in_thread(create_app({"shop": supervisor.service}, default="shop")) as url:
            num_changes = asyncio.run(run(url))
        assert supervisor.router.state.serving.num_requests == 0
    assert len(results) == CLIENTS * ANSWERS
    assert num_changes > 10
    assert len({version for _, _, version, _ in results}) > 1
    for prompt, text, version, _ in results:
        assert text == expected[version, prompt]
    fingerprints = {version: fingerprint for _, _, version, fingerprint in results}
    assert {(version, fingerprint) for _, _, version, fingerprint in results} == set(fingerprints.items())
    assert len(swapper.engines) == 0


def test_users_and_conversations_keep_their_version_through_a_canary(folders, digests):
    store = open_store("sqlite:///:memory:")
    swapper = Swapper(folders, digests, store)
    swapper.registry.change_state("shop", 2, "canary", actor="person", reason="A test.", share=0.5)
    conversations = [store.create(title="", model="shop").id for _ in range(12)]

    async def talk(url):
        async with httpx.AsyncClient(timeout=120) as client:
            versions = {}
            for round, number in itertools.product(range(3), range(12)):
                _, by_user, _ = await stream(client, url, prompt=PROMPTS[0], user=f"user{number}")
                _, by_id, _ = await stream(client, url, prompt=PROMPTS[0], conversation_id=conversations[number])
                assert versions.setdefault(("user", number), by_user) == by_user
                assert versions.setdefault(("id", number), by_id) == by_id
                if round == 1 and number == 0:
                    swapper.registry.change_state("shop", 3, "shadow", actor="person", reason="A test.")
            return versions

    with swapper.supervisor() as supervisor:
        while supervisor.router.state.routing.canary is None:
            threading.Event().wait(0.01)
        with serve_in_thread(create_app({"shop": supervisor.service}, default="shop")) as url:
            versions = asyncio.run(talk(url))
    assert set(versions.values()) == {"shop@1", "shop@2"}
    for number, id in enumerate(conversations):
        metas = [stored.meta for stored in store.get(id).tree if stored.message.role == "assistant"]
        assert {meta["version"] for meta in metas} == {versions["id", number]}, store.get(id)
        assert {meta["weights"] for meta in metas} <= set(digests)
    store.close()


class TestLoading:
    def record(self, folder, digest, scorecard):
        return NewVersion("shop", str(folder), digest, scorecard=scorecard)

    def test_a_changed_folder_is_never_loaded(self, folders, digests):
        swapper = Swapper(folders, ["0" * 64, *digests[1:]])
        with pytest.raises(UserError, match="damaged or were changed"):
            swapper.supervisor()

    def test_a_version_must_give_the_answer_that_its_training_recorded(self, folders, digests, tmp_path):
        other_weights = random_adapter(tmp_path / "adapter", folders[0], seed=3)
        with (
            open_chat_service(str(folders[1]), name="shop") as service,
            open_chat_service(str(other_weights), name="shop") as impostor,
        ):
            check = record_check(service)
            registry = registry_with("shop", folders[0], digests=digests)
            version = registry.add(self.record(folders[1], digests[1], {"check": check}), reason="A test.")
            check_answers(service, version)
            with pytest.raises(InvalidData, match="does not give the recorded answer"):
                check_answers(impostor, version)

    def test_a_check_does_not_depend_on_the_settings_of_the_server(self, folders, digests):
        with open_chat_service(str(folders[1]), name="shop") as service:
            check = record_check(service)
        version = registry_with("shop", folders[0], digests=digests).add(
            self.record(folders[1], digests[1], {"check": check}), reason="A test."
        )
        defaults = {"repetition_penalty": 3.0, "temperature": 2.0, "bad_words": (check["answer"].split()[0],)}
        with open_chat_service(str(folders[1]), name="shop", system_prompt="Be rude.", defaults=defaults) as service:
            check_answers(service, version)

    @pytest.mark.parametrize("check", ["x", {"prompt": "Hello"}, {"prompt": 1, "answer": "x"}])
    def test_a_malformed_check_is_an_error(self, folders, digests, check):
        registry = registry_with("shop", folders[0], digests=digests)
        version = registry.add(self.record(folders[1], digests[1], {"check": check}), reason="A test.")
        with open_chat_service(str(folders[1]), name="shop") as service, pytest.raises(InvalidData, match="needs a"):
            check_answers(service, version)
