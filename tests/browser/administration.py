"""A server for the pages of administrators: API keys with usage, and a model with three versions."""

import time
from contextlib import contextmanager
from datetime import timedelta

from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.core.key_usage import UsageCounts, UsageDay, utc_day
from turnwise.core.model_versions import NewVersion
from turnwise.server.app import create_app
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.store.sqlite.key_usage_store import SqliteKeyUsageStore
from turnwise.testing import serve_in_thread
from version_stand_ins import BreakableRegistry, UncheckedControl, open_scripted_version

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"
RECIPE = "training: {{learning_rate: {rate}}}"


def open_registry():
    """Versions 1 and 2 served, 3 is a candidate that the gate refused."""
    registry = BreakableRegistry()
    for number, has_passed in ((1, False), (2, True), (3, False)):
        gate = {"gate": {"reason": f"Refused: {HOSTILE}"}} if number == 3 else {}
        new = NewVersion(
            "shop", f"shop/{number}", f"digest-{number}", parent=number - 1 or None,
            recipe=RECIPE.format(rate=number / 1000), data_sha256={"data/talks.jsonl": "5" * 64},
            contributors=("a", "b"), scorecard={"headline": {"chrf": 30.0 + number}, **gate},
            has_passed_gate=has_passed,
        )  # fmt: skip
        registry.add(new, reason=f"Trained: {HOSTILE}")
    registry.change_state("shop", 2, "serving", actor="gate", reason="Better.")
    return registry


def add_usage(path, *names):
    """Store usage of keys for 20 days."""
    today = utc_day(time.time())
    SqliteKeyUsageStore(path).add({
        UsageDay(today - timedelta(days=day), name): UsageCounts(10 + day, 1000 + day, 200, day % 3)
        for day in range(20)
        for name in names
    })  # fmt: skip


@contextmanager
def open_site(folder, store, services, registry, **settings):
    """Serve the models `services` and the versions of `registry`; the keys are in `folder`. Yields the URL."""
    path = folder / "keys.db"
    supervisor = VersionSupervisor(registry, "shop", open_scripted_version(store), flush_seconds=0)
    services["shop"] = supervisor.service
    app = create_app(
        services, default="scripted" if "scripted" in services else "shop", keys=SqliteKeyStore(path),
        key_usage=SqliteKeyUsageStore(path), version_control=UncheckedControl(registry), auto_titles=False, **settings,
    )  # fmt: skip
    try:
        with serve_in_thread(app) as url:
            yield url
    finally:
        del services["shop"]
        supervisor._pool.close()
