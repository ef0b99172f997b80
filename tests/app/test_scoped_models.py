"""A model with a scope: its adapter answers questions inside, the model that it was trained from all others."""

import asyncio
import json
import shutil
from contextlib import ExitStack

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_export import convert_model, export_gguf
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.app.scope_files import OUTSIDE_FOLDER, ScopeFile, read_scope, write_scope
from turnwise.app.shared_base_engines import SharedBaseEngines
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.cli.main import app
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import UserError
from turnwise.core.messages import Message, Question
from turnwise.core.model_versions import NewVersion
from turnwise.evaluation.samples import GenerationQuery, LoglikelihoodQuery
from turnwise.models.model_folders import SCOPE_FILE, weights_digest
from turnwise.store import open_model_registry
from turnwise.store.sqlite.response_cache import SqliteResponseCache
from turnwise.text.question_scope import fit_scope
from version_stand_ins import random_adapter

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.costly]
INSIDE, NEAR, OUTSIDE = "Do you have vegan croissants?", "are there VEGAN croissants", "What is the capital of France?"
BACKGROUND = ["Do you have a name?", "Are you there?", "What is the capital of Spain?", "Who are you?"]


def scope_for(base):
    return ScopeFile(
        base=str(base),
        base_sha256=weights_digest(base),
        scope=fit_scope([Question(INSIDE)], map(Question, BACKGROUND)).data,
    )


@pytest.fixture
def first(tmp_path, model_folder):
    """An adapter, as the default model is one: the version that the scoped one was trained from."""
    return random_adapter(tmp_path / "first", model_folder, seed=1)


@pytest.fixture
def scoped(tmp_path, first, model_folder):
    folder = random_adapter(tmp_path / "scoped", model_folder, seed=2)
    write_scope(folder, scope_for(first))
    return folder


@pytest.fixture
def open_service():
    with ExitStack() as stack:
        yield lambda folder, **more: stack.enter_context(open_chat_service(str(folder), max_num_seqs=4, **more))


def answer(service, question, **more):
    messages = (Message("user", "Hello"), Message("assistant", "Hi"), Message("user", question))
    request = ChatRequest(messages, sampling={"temperature": 0, "max_tokens": 8, "min_tokens": 8}, **more)
    return asyncio.run(service.reply(request))


def without_scope(folder, tmp_path):
    copy = tmp_path / "without"
    copy.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name != SCOPE_FILE:
            (copy / path.name).write_bytes(path.read_bytes())
    return copy


class TestAnswers:
    def test_the_last_question_decides_which_model_answers(self, open_service, scoped, first, tmp_path):
        service, base = open_service(scoped), open_service(first)
        adapter = open_service(without_scope(scoped, tmp_path))
        for question in (INSIDE, NEAR):
            assert answer(service, question).text == answer(adapter, question).text != answer(base, question).text
        assert answer(service, OUTSIDE).text == answer(base, OUTSIDE).text != answer(adapter, OUTSIDE).text

    def test_a_question_with_other_instructions_is_answered_by_the_first_model(self, open_service, scoped, first):
        instructions = (Message("system", "You sell cars."), Message("user", INSIDE))
        request = ChatRequest(instructions, sampling={"temperature": 0, "max_tokens": 8, "min_tokens": 8})
        texts = [asyncio.run(open_service(folder).reply(request)).text for folder in (scoped, first)]
        assert texts[0] == texts[1]

    def test_a_text_without_messages_is_continued_by_the_first_model(self, open_service, scoped, first):
        request = ChatRequest(prompt=INSIDE, sampling={"temperature": 0, "max_tokens": 8})
        texts = [asyncio.run(open_service(folder).reply(request)).text for folder in (scoped, first)]
        assert texts[0] == texts[1]

    def test_prefixes_are_cached_for_each_model(self, open_service, scoped):
        service = open_service(scoped)
        assert [answer(service, q).usage.cached_tokens > 0 for q in (INSIDE, OUTSIDE, INSIDE, OUTSIDE)] == [
            False, False, True, True,
        ]  # fmt: skip

    def test_evaluation_measures_the_system_that_is_served(self, scoped, first, tmp_path):
        folders = [scoped, first, without_scope(scoped, tmp_path)]
        results = []
        for folder in folders:
            with open_model_under_test(str(folder), SqliteResponseCache(None), sampling={"max_tokens": 8}) as system:
                asked = [(Message("user", question),) for question in (NEAR, OUTSIDE)]
                texts = system.generate([(GenerationQuery(h, greedy=True), 0) for h in asked], lambda _: None)
                queries = [LoglikelihoodQuery((*history, Message("assistant", "Yes."))) for history in asked]
                nlls = system.loglikelihood(queries, lambda _: None)
                results.append([(t.text, n.nll) for t, n in zip(texts, nlls, strict=True)])
        (near, outside), base, adapter = results
        assert near == adapter[0] != base[0]
        assert outside == base[1] != adapter[1]

    def test_answers_outside_are_shared_with_an_evaluation_of_the_first_model(self, scoped, first):
        cache = SqliteResponseCache(None)
        num_shared = []
        for folder in (first, scoped):
            with open_model_under_test(str(folder), cache, sampling={"max_tokens": 8}) as system:
                queries = [(GenerationQuery((Message("user", q),), greedy=True), 0) for q in (NEAR, OUTSIDE)]
                counts = []
                system.generate(queries, counts.append)
                num_shared.append(counts[0])
        assert num_shared == [0, 1]


class TestServing:
    def test_both_models_share_the_engine_of_their_base(self, scoped, first):
        engines = SharedBaseEngines()
        with open_chat_service(str(scoped), base_engines=engines, max_num_seqs=4) as service:
            assert len(engines) in (2, 3)  # a base and two adapters; without the compiled library two merged models
            assert service.is_healthy
            with open_chat_service(str(first), base_engines=engines, max_num_seqs=4) as base:
                assert service.context_length == base.context_length
                assert service.engine.max_new_tokens(5) == base.engine.max_new_tokens(5)
        assert len(engines) == 0

    def test_the_fingerprint_changes_with_the_scope(self, open_service, scoped, first):
        before = open_service(scoped).fingerprint
        scope = scope_for(first)
        write_scope(
            scoped,
            scope.model_copy(
                update={"scope": fit_scope([Question(INSIDE), Question(OUTSIDE)], map(Question, BACKGROUND)).data}
            ),
        )
        assert open_service(scoped).fingerprint != before

    def test_it_answers_outside_its_scope_after_an_update_of_the_first_model(self, open_service, scoped, first):
        before = answer(open_service(scoped), OUTSIDE).text
        shutil.rmtree(first)
        assert answer(open_service(scoped), OUTSIDE).text == before

    def test_a_changed_first_model_is_an_error(self, scoped):
        path = scoped / OUTSIDE_FOLDER / "adapter_model.safetensors"
        save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
        with pytest.raises(UserError, match="have changed since"), open_chat_service(str(scoped)):
            pass

    def test_a_chain_of_scopes_is_an_error(self, scoped, first, model_folder):
        write_scope(first, scope_for(model_folder))
        write_scope(scoped, scope_for(first))
        with pytest.raises(UserError, match="has a scope itself"), open_chat_service(str(scoped)):
            pass

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "is not readable JSON"),
            ("[]", "should hold a JSON object"),
            ("{}", "'base' is missing"),
            ('{"base": "tiny", "base_sha256": "ab", "scope": {"thresold": 1}}', "unknown key 'scope.thresold'"),
        ],
    )
    def test_a_damaged_scope_is_an_error(self, scoped, content, message):
        (scoped / SCOPE_FILE).write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=message), open_chat_service(str(scoped)):
            pass


class TestVersions:
    @pytest.fixture
    def version(self, scoped, tmp_path):
        registry = open_model_registry(f"sqlite:///{tmp_path / 'registry.db'}")
        library = VersionLibrary(registry, tmp_path)
        yield library, registry.add(NewVersion("shop", f"./{scoped.name}", weights_digest(scoped)), reason="New.")
        registry.close()

    def test_a_version_with_another_scope_is_not_used(self, version, scoped, first):
        library, record = version
        assert library.verified_folder(record).samefile(scoped)
        write_scope(scoped, replace_threshold(scope_for(first), 0.0))
        with pytest.raises(UserError, match="are not those of shop@1"):
            library.verified_folder(record)

    def test_a_version_whose_first_model_has_changed_is_not_used(self, version, scoped):
        library, record = version
        path = scoped / OUTSIDE_FOLDER / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 16.0}))
        with pytest.raises(UserError, match="have changed since"):
            library.verified_folder(record)


def replace_threshold(scope, threshold):
    return scope.model_copy(update={"scope": scope.scope.model_copy(update={"threshold": threshold})})


class TestOneModel:
    """What writes a single model cannot keep the scope, and says so before it writes anything."""

    def test_it_is_not_exported(self, scoped, tmp_path):
        with pytest.raises(UserError, match="cannot be written as GGUF"):
            export_gguf(str(scoped), tmp_path / "model.gguf", "Q8_0")
        with pytest.raises(UserError, match="cannot be converted"):
            convert_model(str(scoped), tmp_path / "converted")
        assert not (tmp_path / "model.gguf").exists()
        assert not (tmp_path / "converted").exists()

    def test_it_is_not_merged(self, scoped, tmp_path):
        result = CliRunner().invoke(app, ["merge", str(scoped), "--out", str(tmp_path / "merged")])
        assert "cannot be merged" in str(result.exception)
        assert not (tmp_path / "merged").exists()


def test_a_scope_is_read_as_it_was_written(scoped, first):
    assert read_scope(scoped) == scope_for(first)
    assert read_scope(first) is None
