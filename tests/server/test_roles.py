"""Roles of API keys: every route declares one, the documentation lists them, and keys get no other route."""

import re
from pathlib import Path

import httpx
import openai
import pytest
from fastapi.routing import APIRoute

from turnwise.core.access import KEY_ROLES, has_role
from turnwise.server.app import create_app
from turnwise.server.middleware.api_key_auth import PUBLIC_PATHS, PUBLIC_PREFIX
from turnwise.server.route_roles import declared_role
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

SERVING = Path(__file__).parents[2] / "docs" / "serving.md"
APP = create_app({"scripted": ScriptedChatService()}, default="scripted")


def all_routes(routes):
    """The routes of an application, with those of included routers, which newer versions of FastAPI leave nested."""
    for route in routes:
        nested = getattr(route, "original_router", None)
        yield from [route] if nested is None else all_routes(nested.routes)


ROUTES = list(all_routes(APP.routes))
API_ROUTES = [route for route in ROUTES if isinstance(route, APIRoute)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of a server with a key of every role, and the headers of these keys."""
    keys = SqliteKeyStore(tmp_path_factory.mktemp("keys") / "keys.db")
    headers = {role: {"Authorization": f"Bearer {keys.create(role, role=role)}"} for role in KEY_ROLES}
    store = open_store("sqlite:///:memory:")
    app = create_app({"scripted": ScriptedChatService(store=store)}, default="scripted", keys=keys)
    with serve_in_thread(app) as url:
        yield url, headers
    store.close()


@pytest.mark.parametrize("route", API_ROUTES, ids=lambda route: f"{sorted(route.methods)} {route.path}")
def test_every_route_declares_its_role(route):
    role = declared_role(route.endpoint)
    assert role in (*KEY_ROLES, "public"), "add @requires(...) below the decorator of the route"
    assert (role == "public") == (route.path in PUBLIC_PATHS)


def test_all_other_routes_are_pages_without_contents():
    assert len(API_ROUTES) > 40
    others = {route.path for route in ROUTES if not isinstance(route, APIRoute)}
    assert {path for path in others if not f"{path}/".startswith(PUBLIC_PREFIX)} <= PUBLIC_PATHS


@pytest.mark.parametrize("role", KEY_ROLES)
@pytest.mark.parametrize("route", API_ROUTES, ids=lambda route: f"{sorted(route.methods)} {route.path}")
def test_a_key_gets_the_routes_of_its_role_and_no_other(server, route, role):
    url, headers = server
    required = declared_role(route.endpoint)
    path = re.sub(r"\{[^}]*\}", "x", route.path)
    (method,) = route.methods
    # No body is valid, so that nothing is generated: what is allowed gets another answer than 403.
    answer = httpx.request(method, url + path, headers=headers[role], content=b"{")
    is_allowed = required == "public" or has_role(role, required)
    assert (answer.status_code == 403) != is_allowed
    if not is_allowed:
        error = answer.json()["error"]
        assert (error["code"], error["type"], error["param"]) == ("insufficient_role", "invalid_request_error", None)
        assert f"`turnwise keys create --role {required}`" in error["message"]


def test_a_route_without_a_declaration_is_for_admins(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    headers = {role: {"Authorization": f"Bearer {keys.create(role, role=role)}"} for role in KEY_ROLES}
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys)

    @app.get("/v1/forgotten")
    async def forgotten() -> str:
        return "text"

    with serve_in_thread(app) as url:
        statuses = [httpx.get(f"{url}/v1/forgotten", headers=headers[role]).status_code for role in KEY_ROLES]
    assert statuses == [403, 403, 200]


def test_the_official_client_raises_a_permission_error(server):
    url, headers = server
    key = headers["user"]["Authorization"].removeprefix("Bearer ")
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.get("/handoffs", cast_to=object)
        assert client.models.list().data
    assert refused.value.code == "insufficient_role"


def test_the_documentation_lists_the_routes_of_every_role():
    """The table in docs/serving.md: a route is in the row of the least role that it needs."""
    rows = re.findall(r"^\| `(user|agent|admin)` \|(.*)\|$", SERVING.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {role: set(re.findall(r"`(/[^`]*)`", cells)) for role, cells in rows}
    assert set(documented) == set(KEY_ROLES)
    for route in API_ROUTES:
        required = declared_role(route.endpoint)
        if required == "public":
            continue
        matches = [role for role, paths in documented.items() if any(_covers(path, route.path) for path in paths)]
        assert matches == [required], route.path


def _covers(documented, path):
    """Whether a path of the table, which may end with "…", stands for a route."""
    return path.startswith(documented[:-1]) if documented.endswith("…") else path.rstrip("/") == documented
