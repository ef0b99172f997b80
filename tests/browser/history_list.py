"""Conversations in the store, and their rows in the list of the chat page."""

import time

from turnwise.core.messages import Message

DAY = 86_400


def create(store, title, *texts, age_days=0.0, **fields):
    """A conversation with messages of the user, which was changed some days ago."""
    id = store.create(title=title, model="scripted", **fields).id
    if texts:
        store.append(id, [Message("user", text) for text in texts])
    if age_days:
        with store._database.write_transaction() as connection:
            updated = time.time() - age_days * DAY
            connection.execute("UPDATE conversations SET updated = ?, created = ? WHERE id = ?", (updated, updated, id))
    return id


def row(page, title):
    return page.locator(".history-row", has=page.locator(".history-open", has_text=title))


def choose(page, title, *items):
    """Choose items of the menu of a conversation, and of the menus that follow."""
    row(page, title).hover()
    row(page, title).get_by_label("Actions for").click()
    for item in items:
        page.locator(".menu-item", has_text=item).first.click()


def titles(page):
    return page.locator(".history-open")


def headings(page):
    return page.locator(".history-heading")
