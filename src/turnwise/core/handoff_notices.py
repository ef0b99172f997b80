"""Sentences that tell a customer about a hand-off. They are for the customer only: the model never sees them."""

from collections.abc import Iterable, Mapping

DEFAULT_LANGUAGE = "en"
HANDOFF_NOTICES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "open": "I am connecting you with a person. You can keep writing here; they will read all of it.",
        "wait": "You are still in the queue. A person will answer here as soon as one is free.",
        "claim": "{agent} has joined the conversation.",
        "return": "{agent} has left the conversation. The assistant answers again.",
        "close": "{agent} has closed this request. Write here if you need anything else.",
        "cancel": "You are talking to the assistant again.",
        "time_out": "I am sorry, nobody was free in time. The assistant answers again; you can ask for a person later.",
        "unavailable": "I cannot connect you with a person in this conversation.",
    },
    "zh": {
        "open": "正在为您转接人工客服。您可以继续在这里留言，客服人员都能看到。",
        "wait": "您仍在排队中，有空闲的客服人员会马上在这里回复您。",
        "claim": "{agent} 已加入对话。",
        "return": "{agent} 已离开对话，接下来由智能助手继续为您服务。",
        "close": "{agent} 已结束本次服务。如果还有其他问题，请直接在这里留言。",
        "cancel": "现在由智能助手继续为您服务。",
        "time_out": "非常抱歉，暂时没有空闲的客服人员。接下来由智能助手继续为您服务，您也可以稍后再转人工。",
        "unavailable": "抱歉，当前对话无法转接人工客服。",
    },
}  # fmt: skip


def handoff_notices(language: str, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The sentences in a language, English if there are none; `changes` replace some of them."""
    notices = HANDOFF_NOTICES.get(language.partition("-")[0].lower(), HANDOFF_NOTICES[DEFAULT_LANGUAGE])
    return {**notices, **(changes or {})}


def is_notice(text: str, more: Iterable[str] = ()) -> bool:
    """True if an assistant message is one of these sentences, or one of `more`, with any name of a person."""
    return any(_matches(text.strip(), notice) for notice in (*_all_notices(), *more))


def _all_notices() -> Iterable[str]:
    return (notice for notices in HANDOFF_NOTICES.values() for notice in notices.values())


def _matches(text: str, notice: str) -> bool:
    start, is_template, end = notice.partition("{agent}")
    if not is_template:
        return text == notice
    return len(text) > len(start) + len(end) and text.startswith(start) and text.endswith(end) and "\n" not in text
