"""The shop of `service_scenarios`, whose classifier is fitted once."""

import asyncio

import pytest

from service_scenarios import open_shop
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.store import open_store


@pytest.fixture(scope="session")
def resources():
    """Fitted classifiers by the content of a scenario."""
    return ResourceCache(waits=True)


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path / 'chats.db'}")
    yield opened
    opened.close()


@pytest.fixture
def shop(tmp_path, resources):
    """`shop(answers, **settings)`: the service of the shop and its scripted model, without a store."""
    return lambda *answers, **settings: open_shop(
        tmp_path / "scenarios", answers=answers or ("I am a model.",), resources=resources, **settings
    )


@pytest.fixture
def stored_shop(shop, store):
    """The same with a store."""
    return lambda *answers, **settings: shop(*answers, store=store, **settings)


@pytest.fixture
def reply():
    return lambda service, request: asyncio.run(service.reply(request))
