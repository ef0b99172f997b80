"""Scripts and style sheets of the pages are served without comments, and all of them together are small."""

import posixpath
import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from turnwise.server.minified_assets import MinifiedAssets
from turnwise.server.routes.pages import WEB

MAX_BYTES_OF_CHAT = 700_000  # all that the chat page can load, in all languages
MAX_BYTES = 800_000  # of all pages
FILES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file())
SCRIPTS = [name for name in FILES if name.endswith(".js") and not name.startswith("vendor/")]


def client(folder):
    app = Starlette()
    app.mount("/assets", MinifiedAssets(directory=folder))
    return TestClient(app)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "page.js").write_text("// why\nexport const text = `  // ${1} “kept”`; // end\n", encoding="utf-8")
    (tmp_path / "page.css").write_text("/* why */\n.a {\n  color: red;\n}\n", encoding="utf-8")
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "library.js").write_text("// licence\nlet a;\n", encoding="utf-8")
    return tmp_path


def test_comments_go_and_texts_stay(folder):
    script = client(folder).get("/assets/page.js")
    assert script.text.strip() == "export const text=`  // ${1} “kept”`;"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    style = client(folder).get("/assets/page.css")
    assert style.text == ".a{color:red}"
    assert style.headers["content-type"] == "text/css; charset=utf-8"


def test_libraries_are_served_as_they_were_published(folder):
    assert client(folder).get("/assets/vendor/library.js").text == "// licence\nlet a;\n"


def test_a_browser_loads_a_file_again_only_after_a_change(folder):
    first = client(folder).get("/assets/page.js")
    known = {"If-None-Match": first.headers["etag"]}
    assert client(folder).get("/assets/page.js", headers=known).status_code == 304
    (folder / "page.js").write_text("export const text = 2;\n", encoding="utf-8")
    assert client(folder).get("/assets/page.js", headers=known).text.strip() == "export const text=2;"


# rjsmin removes spaces in the text of a template within a template: " / " becomes "/".
@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_has_a_template_within_a_template(name):
    assert not re.search(r"`[^`]*\$\{[^`}]*`", (WEB / name).read_text(encoding="utf-8"))


def references(name):
    """Names of the files that a script, a style sheet or a template can load. `${…}` stands for any part of a name."""
    text = (WEB / name).read_text(encoding="utf-8") if name.endswith((".js", ".css", ".html")) else ""
    for found in re.findall(r"""["'`(]((?:\.{1,2}/|/assets/)?[\w./${}-]+\.(?:js|css|svg|woff2))["'`)]""", text):
        path = (
            found.removeprefix("/assets/") if found.startswith("/") else posixpath.join(posixpath.dirname(name), found)
        )
        pattern = re.sub(r"\\\$\\\{\w+\\\}", "[^/]+", re.escape(posixpath.normpath(path)))
        yield from (file for file in FILES if re.fullmatch(pattern, file))


def all_that_is_loaded(names):
    found, pending = set(), list(names)
    while pending:
        if (name := pending.pop()) not in found:
            found.add(name)
            pending += references(name)
    return found


def sizes(names):
    pages = client(WEB)
    return {name: len(pages.get(f"/assets/{name}").content) for name in names}


def test_all_that_the_chat_page_can_load_is_small():
    templates = WEB.parent / "templates"
    html = "".join(
        (templates / name).read_text(encoding="utf-8") for name in ("layout.html", "chat.html", "brand.html")
    )
    start = re.findall(r'/assets/([^"]+)"', html.replace("{{ page.name }}", "chat"))
    loaded = sizes(all_that_is_loaded(start))
    assert {"chat.js", "token_panel.js", "texts_zh_chat.js", "vendor/temml/Temml.woff2"} <= set(loaded)
    assert "vendor/highlight/languages/python.js" in loaded
    assert sum(loaded.values()) <= MAX_BYTES_OF_CHAT, loaded


def test_all_files_of_the_pages_together_are_small():
    assert sum(sizes(FILES).values()) <= MAX_BYTES
