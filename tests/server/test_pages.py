"""The links of the pages, as the server sends them."""

import re

import httpx
import pytest

from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread


def linked_paths(url, path):
    html = httpx.get(url + path).raise_for_status().text
    return re.findall(r'<li><a href="(/[a-z]*)"', html), re.findall(r'<a href="(/[a-z]*)" aria-current="page"', html)


@pytest.fixture
def classifiers():
    return {}


@pytest.fixture
def serve(classifiers):
    """Start a server: `with serve(**settings) as url`."""

    def start(**settings):
        services = {"scripted": ScriptedChatService()}
        return serve_in_thread(create_app(services, default="scripted", classifiers=classifiers, **settings))

    return start


PATHS = [
    "/",
    "/playground",
    "/classify",
    "/monitor",
    "/handoffs",
    "/review",
    "/data",
    "/runs",
    "/improve",
    "/keys",
    "/docs",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_page_links_to_all_pages_that_the_server_has(serve, classifiers, path):
    with serve(
        monitor=object(), has_handoffs=True, datasets=object(), runs=object(), improvement=object(), keys=object()
    ) as url:
        assert linked_paths(url, path)[0] == [other for other in PATHS if other != "/classify"]
        classifiers["names"] = object()
        assert linked_paths(url, path) == (PATHS, [path])


def test_a_server_without_classifiers_monitor_and_handoffs_links_to_none(serve):
    with serve() as url:
        assert linked_paths(url, "/") == (["/", "/playground", "/docs"], ["/"])
        assert linked_paths(url, "/classify") == (["/", "/playground", "/docs"], [])


def test_a_server_without_pages_has_the_description_of_the_api_without_links(serve):
    with serve(web=False) as url:
        assert linked_paths(url, "/docs") == ([], [])
        assert httpx.get(f"{url}/classify").status_code == 404


def test_the_templates_are_not_served_as_files(serve):
    with serve() as url:
        assert httpx.get(f"{url}/assets/chat.html").status_code == 404
        assert httpx.get(f"{url}/assets/layout.html").status_code == 404
        assert httpx.head(url).status_code == 200
