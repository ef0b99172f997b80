"""One engine for a base model and its adapters: identified by their weights, closed with their last user."""

import asyncio
from contextlib import ExitStack

import pytest
import torch
from safetensors.torch import load_file, save_file

from turnwise.app.chat_services import open_chat_service
from turnwise.app.shared_base_engines import SharedBaseEngines
from turnwise.core.chat_request import ChatRequest
from turnwise.core.messages import Message
from turnwise.engine.native.library import library
from version_stand_ins import random_adapter

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.costly,
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]
REQUEST = ChatRequest(
    messages=(Message("user", "Where is my order? " * 3),),
    sampling={"temperature": 0, "max_tokens": 8, "min_tokens": 8},
)


@pytest.fixture
def engines():
    return SharedBaseEngines()


@pytest.fixture
def adapters(tmp_path, model_folder):
    return [random_adapter(tmp_path / f"adapter{seed}", model_folder, seed=seed) for seed in (1, 2)]


@pytest.fixture
def open_service(engines):
    """`open_service(folder)`: a service, and the function that closes it."""
    with ExitStack() as stack:

        def open_one(folder):
            single = stack.enter_context(ExitStack())
            service = single.enter_context(
                open_chat_service(str(folder), name="model", base_engines=engines, max_num_seqs=4)
            )
            return service, single.close

        yield open_one


def answer(service):
    return asyncio.run(service.reply(REQUEST))


def test_the_base_is_in_memory_once_and_is_closed_after_the_last_adapter(engines, open_service, adapters, model_folder):
    base, close_base = open_service(model_folder)
    (first, close_first), (second, close_second) = map(open_service, adapters)
    assert len(engines) == 3  # one engine and two adapters
    assert len({answer(service).text for service in (base, first, second)}) == 3
    expected = answer(second).text
    close_base()
    close_first()
    assert len(engines) == 2
    assert answer(second).text == expected
    close_second()
    assert len(engines) == 0
    assert not first.engine._engine._thread.is_alive()


def test_users_of_the_same_adapter_share_it(engines, open_service, adapters):
    (first, close_first), (second, _) = open_service(adapters[0]), open_service(adapters[0])
    expected = answer(first).text
    close_first()
    assert answer(second).text == expected
    assert len(engines) == 2


def test_new_weights_in_the_same_folder_are_another_adapter_without_the_old_prefixes(engines, open_service, adapters):
    old, _ = open_service(adapters[0])
    old_answer = answer(old)
    path = adapters[0] / "adapter_model.safetensors"
    weights = {name: torch.flip(tensor, [0]) for name, tensor in load_file(path).items()}
    save_file(weights, path)
    new, _ = open_service(adapters[0])
    new_answer = answer(new)
    assert new_answer.text != old_answer.text
    assert new_answer.usage.cached_tokens == 0
    assert new.fingerprint != old.fingerprint
    assert answer(old).text == old_answer.text
    assert answer(old).usage.cached_tokens > 0
    assert len(engines) == 3
