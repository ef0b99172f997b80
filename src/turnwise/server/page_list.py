"""The pages of the server, in the order of their links."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A page: template, script and style sheet are called `name`."""

    path: str
    name: str
    label: str


CHAT = Page("/", "chat", "Chat")
PAGES = (
    CHAT,
    Page("/playground", "playground", "Playground"),
    Page("/classify", "classify", "Classify"),
    Page("/monitor", "monitor", "Monitor"),
    Page("/handoffs", "handoffs", "Hand-offs"),
    Page("/review", "review", "Review"),
    Page("/data", "data", "Data"),
    Page("/runs", "runs", "Train"),
    Page("/improve", "improve", "Improve"),
    Page("/versions", "versions", "Versions"),
    Page("/keys", "keys", "Keys"),
    Page("/docs", "docs", "API"),
)
