"""The script of the service worker, the manifest, and the version of the files of the pages."""

import json
import re

import httpx
import pytest
import rjsmin

from turnwise.server.app import create_app
from turnwise.server.page_files import files_of_page, files_version, service_worker
from turnwise.server.routes.pages import WEB
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

MAX_BYTES = 3_000  # of the worker and the module of the page, without the list of files


@pytest.fixture
def serve():
    """Start a server: `with serve(**settings) as url`."""
    return lambda **settings: serve_in_thread(
        create_app({"scripted": ScriptedChatService()}, default="scripted", **settings)
    )


def constants(script):
    version, files = re.match(r'const VERSION="(\w+)",FILES=(\[[^\]]*\]);', script).groups()
    return version, json.loads(files)


def test_the_script_has_the_version_of_the_pages_and_files_that_exist(serve):
    with serve() as url:
        response = httpx.get(f"{url}/service-worker.js")
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        version, files = constants(response.text)
        page = httpx.get(url)
        assert page.headers["x-turnwise-assets"] == version
        assert f'data-assets="{version}"' in page.text
        assert {httpx.get(url + path).status_code for path in files} == {200}


def test_the_files_are_those_of_the_chat_page_and_of_no_other_page(serve):
    with serve() as url:
        _, files = constants(httpx.get(f"{url}/service-worker.js").text)
    names = {path.removeprefix("/assets/") for path in files}
    needed = {
        "chat.js", "chat.css", "theme.js", "icon.svg", "manifest.webmanifest", "texts_zh.js", "token_panel.css",
        "attention_view.js", "vendor/temml/Temml.woff2", "vendor/highlight/languages/python.js", "offline.js",
    }  # fmt: skip
    assert needed <= names
    assert not names & {"monitor.js", "improve.js", "docs.css", "service_worker.js"}


def test_the_version_follows_the_contents(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.js").write_text("1")
    before = files_version(tmp_path / "one")
    assert before == files_version(tmp_path / "two")
    (tmp_path / "one" / "a.js").write_text("12")
    assert files_version(tmp_path / "one") != before


def test_files_are_found_through_scripts_and_style_sheets(tmp_path):
    (tmp_path / "part").mkdir()
    sources = {
        "page.js": 'import { a } from "./part/a.js"; const b = () => import(`./texts_${code}.js`);',
        "part/a.js": 'const href = "/assets/style.css"; import "../../outside.js"; import "./absent.js";',
        "texts_zh.js": "",
        "style.css": "a { background: url('image.svg') url(data:image/png;base64,x) }",
        "image.svg": "",
        "unused.js": "",
    }
    for name, source in sources.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    files = files_of_page('<script src="/assets/page.js"></script>', tmp_path)
    assert files == [f"/assets/{name}" for name in ("image.svg", "page.js", "part/a.js", "style.css", "texts_zh.js")]


def test_the_manifest_can_be_installed_from(serve):
    with serve() as url:
        response = httpx.get(f"{url}/assets/manifest.webmanifest")
        manifest = response.json()
        icons = [httpx.get(url + icon["src"]) for icon in manifest["icons"]]
        page = httpx.get(url).text
    assert response.headers["content-type"] == "application/manifest+json"
    assert (manifest["name"], manifest["start_url"], manifest["display"]) == ("Turnwise", "/", "standalone")
    assert [icon.headers["content-type"] for icon in icons] == ["image/svg+xml", "image/svg+xml"]
    colours = re.findall(r'<meta name="theme-color" content="(#\w+)" media="\(prefers-color-scheme: (\w+)\)">', page)
    style = (WEB / "style.css").read_text(encoding="utf-8")
    assert [scheme for _, scheme in colours] == ["light", "dark"]
    assert f"--page: light-dark({colours[0][0]}, {colours[1][0]});" in style
    assert manifest["theme_color"] == manifest["background_color"] == colours[0][0]


def test_a_server_without_the_chat_page_has_no_service_worker(serve):
    with serve(web=False) as url:
        assert httpx.get(f"{url}/service-worker.js").status_code == 404


def test_the_script_needs_no_api_key(serve, tmp_path):
    with serve(keys=SqliteKeyStore(tmp_path / "keys.json"), require_key=True) as url:
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/service-worker.js").status_code == 200


def test_workers_and_manifests_come_from_this_server_only(serve):
    with serve() as url:
        policy = httpx.get(url).headers["content-security-policy"]
    assert {"worker-src 'self'", "manifest-src 'self'", "default-src 'self'"} <= set(policy.split("; "))
    assert "unsafe" not in policy


def test_the_scripts_are_small():
    sources = [(WEB / name).read_text(encoding="utf-8") for name in ("service_worker.js", "offline.js")]
    assert sum(len(rjsmin.jsmin(source).encode()) for source in sources) <= MAX_BYTES


def test_its_script_is_made_once_for_each_version(tmp_path):
    (tmp_path / "service_worker.js").write_text("first()")
    assert service_worker("<html>", "1", tmp_path).endswith("first()")
    (tmp_path / "service_worker.js").unlink()
    assert service_worker("<html>", "1", tmp_path).endswith("first()")
    (tmp_path / "service_worker.js").write_text("second()")
    assert service_worker("<html>", "2", tmp_path).endswith("second()")
