"""The chat page without its server, after an update of the server, and after the page was switched off."""

import shutil
import socket

import pytest
from page_actions import answers, send, wait_until
from playwright.sync_api import expect

from turnwise.server.app import create_app
from turnwise.server.routes import pages
from turnwise.testing import ScriptedChatService, serve_in_thread

NOT_RUNNING = "The server is not running; this page continues as soon as it is back."
# Whether the worker is in control of the next load: it has all files, and no other one is about to replace it.
IS_KEPT = """async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    if (!registration?.active || registration.installing || registration.waiting) return false;
    return registration.active.state === "activated";
}"""
KEPT_PATHS = """async () => {
    const paths = [];
    for (const name of await caches.keys()) {
        for (const { url } of await (await caches.open(name)).keys()) paths.push(name.split("-")[1] + new URL(url).pathname);
    }
    return paths;
}"""  # noqa: E501
KEPT_VERSIONS = "async () => (await caches.keys()).filter((name) => name.startsWith('turnwise-files'))"


class RestartedServer:
    """A server that is stopped and started on the same port."""

    def __init__(self, store):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.services = {"scripted": ScriptedChatService(["Hello."], store=store)}
        self._running = None

    def start(self, **settings):
        app = create_app(self.services, default="scripted", auto_titles=False, **settings)
        self._running = serve_in_thread(app, self.port)
        self._running.__enter__()

    def stop(self):
        if self._running is not None:
            self._running.__exit__(None, None, None)
        self._running = None


@pytest.fixture
def server(store):
    server = RestartedServer(store)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def context(browser):
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def page(context, server):
    """The chat page, whose files are kept."""
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    wait_until(page, lambda: page.evaluate(IS_KEPT), 15)
    return page


@pytest.fixture
def update(server, tmp_path, monkeypatch):
    """`update(number)`: start the server again with files that add their number to `builds`."""
    original = pages.WEB

    def restart(number):
        web = tmp_path / str(number)
        shutil.copytree(original, web)
        for path in web.rglob("*.js"):
            if "vendor" not in path.parts and path.name != "service_worker.js":
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"\n(globalThis.builds ??= new Set()).add({number});\n")
        server.stop()
        monkeypatch.setattr(pages, "WEB", web)
        server.start()

    return restart


def builds(page):
    return page.evaluate("[...globalThis.builds]")


def wait_until_kept(page, also=()):
    """Wait until exactly the versions of some pages are kept, and the worker is in control of the next load."""
    versions = {
        f"turnwise-files-{other.evaluate('document.documentElement.dataset.assets')}" for other in (page, *also)
    }
    wait_until(page, lambda: set(page.evaluate(KEPT_VERSIONS)) == versions and page.evaluate(IS_KEPT), 15)


def test_the_page_opens_without_the_server_and_continues_when_it_is_back(page, server):
    page.fill("#prompt", "half a question")
    server.stop()
    page.reload()
    expect(page.locator("#banner")).to_contain_text(NOT_RUNNING)
    expect(page.locator("#prompt")).to_have_value("half a question")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#banner")).to_contain_text(NOT_RUNNING)
    page.fill("#prompt", "half a question and more")
    server.start()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("#prompt")).to_have_value("half a question and more")
    page.press("#prompt", "Enter")
    expect(answers(page)).to_have_text(["Hello."])


def test_the_draft_of_the_open_conversation_is_shown_without_the_server(page, server):
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    page.fill("#prompt", "about this one")
    server.stop()
    page.reload()
    expect(page.locator("#prompt")).to_have_value("about this one")
    server.start()
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_have_text(["Hello."])
    expect(page.locator("#prompt")).to_have_value("about this one")


def test_only_the_page_and_its_files_are_kept(page, server):
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    page.reload()
    expect(answers(page)).to_have_count(1)
    paths = page.evaluate(KEPT_PATHS)
    assert "files/" in paths
    assert "files/assets/chat.js" in paths
    assert [path for path in paths if not path.startswith(("files/assets/", "pages/")) and path != "files/"] == []
    assert len([path for path in paths if path.startswith("pages/")]) <= 2


def test_the_files_of_a_kept_page_are_not_requested_again(page, server):
    sizes = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/assets/')).length"
    requested = []
    page.context.on("request", lambda request: requested.append(request))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate(sizes) > 20
    by_worker = [request.url for request in requested if request.service_worker]
    assert f"{server.url}/" in by_worker
    assert [url for url in by_worker if "/assets/" in url] == []


def test_after_an_update_a_load_has_only_new_files_and_an_open_page_only_old_ones(context, server, update):
    update(1)
    old = context.new_page()
    old.goto(server.url)
    old.wait_for_selector("body[data-ready]")
    wait_until_kept(old)
    old.reload()
    old.wait_for_selector("body[data-ready]")
    update(2)
    new = context.new_page()
    new.goto(server.url)
    new.wait_for_selector("body[data-ready]")
    assert builds(new) == [2]
    new.keyboard.press("Control+k")  # the palette is loaded now
    expect(new.get_by_role("dialog")).to_be_visible()
    wait_until_kept(new, also=[old])
    for page in (old, new):
        page.evaluate("import('/assets/token_panel.js')")
    assert (builds(old), builds(new)) == ([1], [2])
    old.close()
    server.stop()
    new.reload()
    expect(new.locator("#banner")).to_contain_text(NOT_RUNNING)
    assert builds(new) == [2]
    update(3)
    new.wait_for_selector("body[data-ready]")  # the page was loaded again
    assert builds(new) == [3]
    wait_until_kept(new)


def test_the_worker_ends_when_the_page_is_switched_off(page, server):
    server.stop()
    server.start(web=False)
    assert page.reload().status == 404
    page.goto(f"{server.url}/docs")
    assert page.evaluate("async () => (await navigator.serviceWorker.getRegistrations()).length") == 0
    assert page.evaluate("caches.keys()") == []


def test_other_pages_come_from_the_server(page, server):
    page.goto(f"{server.url}/playground")
    page.wait_for_selector("body[data-ready]")
    server.stop()
    from playwright.sync_api import Error

    with pytest.raises(Error, match="ERR_CONNECTION_REFUSED"):
        page.goto(f"{server.url}/playground")


def test_the_worker_is_registered_after_the_page_is_ready(context, server):
    page = context.new_page()
    held = []
    page.route("**/v1/models", lambda route: held.append(route))
    page.goto(server.url)
    wait_until(page, lambda: held)
    page.wait_for_timeout(200)
    has_worker = "async () => Boolean(await navigator.serviceWorker.getRegistration())"
    assert not page.evaluate(has_worker)
    held[0].continue_()
    page.wait_for_selector("body[data-ready]")
    wait_until(page, lambda: page.evaluate(has_worker), 15)


def test_a_browser_without_service_workers_shows_the_page(context, server):
    context.add_init_script("delete Navigator.prototype.serviceWorker")
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    send(page, "hi")
    expect(answers(page)).to_have_text(["Hello."])
    assert errors == []


def test_the_sentence_is_translated(browser, server):
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    wait_until(page, lambda: page.evaluate(IS_KEPT), 15)
    server.stop()
    page.reload()
    expect(page.locator("#banner-text")).to_have_text("服务器没有运行；它恢复后本页会自动继续。")
    context.close()
