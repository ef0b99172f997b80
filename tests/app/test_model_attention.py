"""Attention of served models: the weights are those of the model that answers, whatever its files are."""

import asyncio
from contextlib import ExitStack

import pytest
import torch
from safetensors.torch import load_file, save_file

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_export import export_gguf
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.scope_files import ScopeFile, write_scope
from turnwise.core.attention import AttentionQuery
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import Unavailable
from turnwise.core.messages import Message, Question
from turnwise.core.steps import run_steps
from turnwise.models.attention_weights import KeptWeights, last_token_attention
from turnwise.models.checkpoint import Checkpoint
from turnwise.models.model_folders import weights_digest
from turnwise.text.question_scope import fit_scope
from version_stand_ins import random_adapter

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.costly]
INSIDE, OUTSIDE = "Do you have vegan croissants?", "What is the capital of France?"


@pytest.fixture
def open_service():
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(open_chat_service(str(folder), max_num_seqs=4))


def attention(service, question=OUTSIDE):
    request = ChatRequest((Message("user", question),))
    return asyncio.run(service.attention(request, AttentionQuery(0, 1)))


def expected(folder, ids):
    return pytest.approx(run_steps(last_token_attention(Checkpoint(folder), ids))[0, 1].tolist(), abs=1e-6)


def test_an_adapter_has_its_own_attention(open_service, model_folder, tmp_path):
    folder = random_adapter(tmp_path / "adapter", model_folder, seed=1)
    weights = attention(open_service(folder))
    assert weights.weights == expected(folder, weights.token_ids)
    assert weights.weights != expected(model_folder, weights.token_ids)


def test_of_two_models_the_one_that_answers_the_question_has_the_attention(open_service, model_folder, tmp_path):
    first = random_adapter(tmp_path / "first", model_folder, seed=1)
    scoped = random_adapter(tmp_path / "scoped", model_folder, seed=2)
    background = [Question("Do you have a name?"), Question(OUTSIDE)]
    scope = fit_scope([Question(INSIDE)], background).data
    write_scope(scoped, ScopeFile(base=str(first), base_sha256=weights_digest(first), scope=scope))
    service = open_service(scoped)
    inside, outside = attention(service, INSIDE), attention(service, OUTSIDE)
    assert inside.weights == expected(scoped, inside.token_ids)
    assert outside.weights == expected(first, outside.token_ids)


def test_a_gguf_file_has_the_attention_of_its_rounded_weights(open_service, model_folder, tmp_path):
    path = tmp_path / "model" / "model.gguf"
    path.parent.mkdir()
    export_gguf(str(model_folder), path, "q8_0")
    weights = attention(open_service(path))
    assert weights.weights == expected(resolve_model_folder(str(path)), weights.token_ids)
    assert weights.weights == pytest.approx(
        attention(open_service(model_folder)).weights, abs=0.01
    )  # 8-bit weights differ a little


def test_files_that_have_changed_since_the_model_was_loaded_are_not_used(open_service, model_folder, tmp_path):
    folder = random_adapter(tmp_path / "adapter", model_folder, seed=1)
    service = open_service(folder)
    before = attention(service)
    path = folder / "adapter_model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
    assert attention(service) == before  # the weights are in memory
    service.attention_reader._cached.clear()
    for computer in service.attention_reader._releases:
        computer.release()
    with pytest.raises(Unavailable, match="have changed since it was loaded"):
        attention(service)


def test_weights_above_the_limit_are_read_every_time(model_folder):
    weights = Checkpoint(model_folder)
    small, large = KeptWeights(weights), KeptWeights(weights, max_bytes=1000)
    assert small.tensor("embed.weight") is small.tensor("embed.weight")
    assert large.tensor("embed.weight") is not large.tensor("embed.weight")
    torch.testing.assert_close(small.tensor("embed.weight"), large.tensor("embed.weight"))
