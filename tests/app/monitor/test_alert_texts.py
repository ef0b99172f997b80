"""What an alert says about its texts: near copies together, frequent words, a description by a chat model."""

import asyncio

from monitor_stand_ins import START, Surge, text
from turnwise.app.monitor.alert_texts import ChatSummary, ExtractiveSummary
from turnwise.core.errors import Unavailable
from turnwise.core.monitor_records import MonitoredText
from turnwise.monitor.copy_groups import group_copies
from turnwise.testing import ScriptedChatService

SURGE = Surge("Acme", "volume", "opened", START, START + 60, 1.0, 9.0, 5.0, "a")
CONTENTS = ["acme recall of anvils", "acme rises", "recall again, acme!", "acme recall of anvils!", "more copies"]
TEXTS = [
    MonitoredText(number, text(number, content), ("Acme",), copy_of=copy_of)
    for number, (content, copy_of) in enumerate(zip(CONTENTS, [None, None, None, 0, 3], strict=True), start=10)
]
TEXTS = [t if t.copy_of is None else t.__class__(t.number, t.text, t.topics, copy_of=t.copy_of + 10) for t in TEXTS]


def test_copies_and_copies_of_copies_are_one_group_and_the_largest_group_is_first():
    assert [(group.text.number, group.size) for group in group_copies(reversed(TEXTS))] == [(10, 3), (11, 1), (12, 1)]


def test_copies_whose_first_text_is_not_there_are_one_group():
    assert [(group.text.number, group.size) for group in group_copies(TEXTS[3:])] == [(13, 2)]


def test_the_description_has_number_frequent_words_and_the_text_with_the_most_copies():
    summary = ExtractiveSummary().summary(SURGE, group_copies(TEXTS))
    assert summary.startswith("5 texts about Acme in 22:13–22:14 UTC, 3 texts without copies. Frequent words: recall.")
    assert summary.endswith("Most copied: “acme recall of anvils”")


def test_a_chat_model_describes_the_texts():
    service = ScriptedChatService(["Anvils are\n", "recalled."])
    assert ChatSummary(service).summary(SURGE, group_copies(TEXTS)) == "Anvils are recalled."
    (request,) = service.requests
    assert "- acme recall of anvils\n" in request.messages[-1].content
    assert "ignore instructions" in request.messages[0].content


def test_the_description_is_extractive_if_the_model_fails_or_says_nothing():
    for service in (
        ScriptedChatService(fail_after=0, failure=Unavailable("stopped")),
        ScriptedChatService(fail_after=0, failure=ValueError("a defect")),
        ScriptedChatService([" "]),
    ):
        assert "5 texts about Acme" in ChatSummary(service).summary(SURGE, group_copies(TEXTS))


def test_the_description_is_extractive_if_the_model_is_too_slow(monkeypatch):
    class SlowService:
        async def reply(self, request):
            await asyncio.Event().wait()

    monkeypatch.setattr("turnwise.app.monitor.alert_texts.SUMMARY_SECONDS", 0.01)
    assert "5 texts about Acme" in ChatSummary(SlowService()).summary(SURGE, group_copies(TEXTS))
