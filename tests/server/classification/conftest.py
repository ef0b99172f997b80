"""Classifiers beside a chat model, on a real server."""

import httpx
import pytest
from classification_requests import CONFIGS

from annotated_data import write_classifier
from turnwise.app.classifiers import open_classification_service
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer, one_thread):
    root = tmp_path_factory.mktemp("classifiers")
    return {name: write_classifier(root / name, tokenizer, config) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def url(folders):
    classifiers = {name: open_classification_service(str(folder), threads=1) for name, folder in folders.items()}
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", classifiers=classifiers)
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture(scope="module")
def post(url):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield lambda route, **fields: client.post(f"/v1/{route}", json=fields)
