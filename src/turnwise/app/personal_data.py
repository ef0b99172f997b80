"""Exports and erases the data of one person, and deletes old data."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from turnwise.app.erasers import ERASERS
from turnwise.core.data_subjects import DataSubject, Eraser
from turnwise.core.errors import InvalidParameter, NotFound, TurnwiseError
from turnwise.core.stored_conversations import ConversationStore

DAY_SECONDS = 86_400.0

DeleteOlder = Callable[[ConversationStore, float], Mapping[str, int]]
"""Deletes what is older than a Unix time and returns numbers by plural noun."""


def find_subject(store: ConversationStore, user: str | None, key: str | None, *, is_local: bool = False) -> DataSubject:
    """The person of command-line flags.

    Args:
        store: conversation store.
        user: name of a user; with `key`, within this key.
        key: name of an API key.
        is_local: what was stored without a key.

    Raises:
        InvalidParameter: nobody is named, or several keys have a user of this name.
        NotFound: nothing is stored of the user.
    """
    if key is not None and is_local:
        raise InvalidParameter("key", "--key and --local name different people; leave one of them out.")
    if key is not None or is_local:
        return DataSubject(key, user)
    if user is None:
        raise InvalidParameter("user", "Name the person: --user NAME, --key NAME, both, or --local.")
    owners = store.personal_data.owners_of(user)
    if not owners:
        raise NotFound(f"Nothing is stored of a user '{user[:100]}'. With --key or --local, everything is searched.")
    if len(owners) > 1:
        names = ", ".join("--local" if owner is None else f"--key {owner}" for owner in owners)
        raise InvalidParameter("user", f"Several people are called '{user[:100]}'. Add one of: {names}.")
    return DataSubject(owners[0], user)


def export_data(
    subject: DataSubject, store: ConversationStore, more: Mapping[str, Eraser] = MappingProxyType({})
) -> dict[str, Any]:
    """Everything that is stored of a subject, by the name of the eraser; `more` as in `erase_data`."""
    exported = {name: eraser.export(subject, store) for name, eraser in {**ERASERS.all(), **more}.items()}
    return {"subject": subject.id, "exported": time.time()} | {name: data for name, data in exported.items() if data}


def erase_data(
    subject: DataSubject, store: ConversationStore, more: Mapping[str, Eraser] = MappingProxyType({})
) -> dict[str, int]:
    """Erase everything that is stored of a subject. If it is interrupted, run it again.

    Args:
        subject: the person.
        store: conversation store.
        more: further erasers by name, of packages above this one.

    Returns:
        Numbers of what was deleted, by plural noun.
    """
    counts: dict[str, int] = {}
    for _, eraser in sorted({**ERASERS.all(), **more}.items(), key=_order):
        for noun, count in eraser.erase(subject, store).items():
            counts[noun] = counts.get(noun, 0) + count
    return counts


def delete_old_data(
    store: ConversationStore, days: float, *, shrink: bool = True, more: Iterable[DeleteOlder] = ()
) -> Mapping[str, int]:
    """Delete conversations, completions and responses that have not changed for `days`. Returns numbers by kind.

    Args:
        store: conversation store.
        days: age in days.
        shrink: return unused space to the file system.
        more: functions of packages above this one, which delete what was made from the deleted records.
    """
    if days <= 0:
        raise InvalidParameter("days", f"'days' must be above 0, got {days:g}.")
    limit = time.time() - days * DAY_SECONDS
    counts = dict(store.personal_data.delete_older(limit))
    for delete_older in more:
        counts |= delete_older(store, limit)
    store.personal_data.remove_traces(shrink=shrink)
    return counts


@contextmanager
def daily_retention(
    store: ConversationStore | None, days: float | None, more: Iterable[DeleteOlder] = ()
) -> Iterator[None]:
    """Delete old data (see `delete_old_data`) at once and then once a day, in a thread, until the block ends."""
    if store is None or days is None:
        yield
        return
    is_stopped = threading.Event()
    arguments = (store, days, tuple(more), is_stopped)
    thread = threading.Thread(target=_repeat_daily, args=arguments, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_stopped.set()
        thread.join()


def _repeat_daily(
    store: ConversationStore, days: float, more: tuple[DeleteOlder, ...], is_stopped: threading.Event
) -> None:
    import logging

    log = logging.getLogger("turnwise.server")
    while True:
        try:
            counts = delete_old_data(store, days, shrink=False, more=more)
        except TurnwiseError as error:
            log.warning("Old data could not be deleted and is tried again tomorrow: %s", error)
        else:
            log.info("Retention of %g days: %s", days, describe_counts(counts))
        if is_stopped.wait(DAY_SECONDS):
            return


def describe_counts(counts: Mapping[str, int]) -> str:
    """Numbers with their nouns, such as "3 conversations, 1 feedback"; "nothing" if all are 0."""
    return ", ".join(f"{count:,} {noun}" for noun, count in counts.items() if count) or "nothing"


def write_export(data: Mapping[str, Any], path: Path) -> None:
    """Write an export to a JSON file that only its owner can read. Raises `SaveFailed`."""
    import json

    from turnwise.core.files import atomic_file

    with atomic_file(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n", encoding="utf-8")


def _order(entry: tuple[str, Eraser]) -> tuple[int, str]:
    name, eraser = entry
    return eraser.ORDER, name
