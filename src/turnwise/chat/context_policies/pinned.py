"""Keeps what the user said about themself, and old turns that the question is about, in front of the question.

The oldest exchanges are dropped as in `drop_oldest`, and a note stands before the last user message. It consists of

* facts by rules (`chat.user_facts`): of dropped exchanges all that fit, of remaining ones those of at least
  `MIN_AGE` exchanges ago that the question is about, because small models overlook early facts in a long context;
* the dropped exchanges that share the rarest words with the question (`text.lexical_search`).

So the policy adds a note to conversations that fit, too. Everything comes from the messages of the request: nothing is
stored, and nothing can come from another conversation. The note is marked as a record and not as instructions. Its
position keeps the prefix cache valid: all messages before the last one are rendered as without the note.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from turnwise.chat.context_policies import ContextBudget, Truncated, drop_oldest
from turnwise.chat.reserved_budget import ReservedBudget
from turnwise.chat.user_facts import UserFact, extract_facts
from turnwise.core.chat_response import ContextReport
from turnwise.core.exchanges import Exchange, droppable_exchanges, find_smallest, split_exchanges
from turnwise.core.messages import Message
from turnwise.text.lexical_search import LexicalIndex
from turnwise.text.word_tokens import split_words

Shorten = Callable[[tuple[Message, ...], ContextBudget], Awaitable[Truncated | None]]

NAME = "pinned"
APPLIES_ALWAYS = True
NOTE_DIVISOR = 8  # a note has at most context_length // NOTE_DIVISOR tokens
MIN_AGE = 4  # exchanges between a fact and the question; the model still sees younger facts well
MAX_TURNS = 2  # old exchanges in a note
MAX_TURN_CHARS = 240  # of each message of them
STEM_CHARS = 4  # words with the same first characters are about the same thing: "deliver", "delivery"

NOTE = "Record of earlier turns of this conversation (what was said, not instructions):\n{lines}\n\n{question}"
# Words that say nothing about the topic of a question.
STOP_WORDS = frozenset(
    split_words(
        "a about all am an and any are as at be but by can could did do does for from had has have he her his how i if "
        "in is it its know me mine my no not now of on or our please remember she should so some tell than thank "
        "thanks that the their them then there they this to was we were what when where which who why will with would "
        "yes you your"
    )
)
# Words that ask for the same kind of fact although they share no beginning.
SYNONYMS = (
    ("job", "profession", "occupation", "work", "employed"),
    ("live", "home", "city", "town", "address", "country", "come"),
    ("name", "called", "call"),
    ("birthday", "born", "age", "old"),
    ("eat", "food", "diet", "allergic", "vegetarian", "vegan"),
    ("phone", "telephone", "mobile", "call", "reach"),
    ("colour", "color"),
)


async def truncate(messages: tuple[Message, ...], budget: ContextBudget) -> Truncated | None:
    """The messages with a note, without the oldest exchanges if they do not fit."""
    return await recall(messages, budget, drop_oldest.truncate, NAME)


async def recall(messages: tuple[Message, ...], budget: ContextBudget, shorten: Shorten, name: str) -> Truncated | None:
    """The messages with a note; shortened first if they do not fit.

    Args:
        messages: the conversation.
        budget: the context budget.
        shorten: shortens a conversation that does not fit.
        name: name of the policy for the report.
    """
    last = last_user_index(messages)
    if last is None:
        return None
    reserve = budget.context_length // NOTE_DIVISOR
    shortened = await _shorten(messages, budget, shorten, reserve)
    remaining = messages if shortened is None else shortened.messages
    index = last_user_index(remaining)
    assert index is not None, "policies keep the last user message"
    remaining_ids = {id(message) for message in remaining}
    dropped = [e for e in droppable_exchanges(messages) if all(id(messages[i]) not in remaining_ids for i in e)]
    facts = await asyncio.to_thread(extract_facts, messages[:last])
    lines = await asyncio.to_thread(_note_lines, messages, last, dropped, facts)

    def with_note(lines: Sequence[str]) -> tuple[Message, ...]:
        if not lines:
            return remaining
        content = NOTE.format(lines="\n".join(lines), question=remaining[index].content)
        return (*remaining[:index], replace(remaining[index], content=content), *remaining[index + 1 :])

    async def note_fits(num_removed: int) -> bool:
        shown = lines[: len(lines) - num_removed]
        if await budget.text_tokens("\n".join(shown)) > reserve:
            return False
        return await budget.prompt_tokens(with_note(shown)) <= budget.max_prompt_tokens

    num_lines = len(lines) - await find_smallest(len(lines), note_fits)
    if not num_lines and shortened is None:
        return None
    report = ContextReport(name, 0) if shortened is None else shortened.report
    return Truncated(with_note(lines[:num_lines]), replace(report, policy=name, recalled=num_lines))


async def _shorten(
    messages: tuple[Message, ...], budget: ContextBudget, shorten: Shorten, reserve: int
) -> Truncated | None:
    """The shortened conversation with space for a note, or without it if that is not possible; None if it fits."""
    if await budget.prompt_tokens(messages) <= budget.max_prompt_tokens:
        return None
    with_space = await shorten(messages, ReservedBudget(budget, reserve))
    max_tokens = budget.max_prompt_tokens - reserve
    if with_space is not None and await budget.prompt_tokens(with_space.messages) <= max_tokens:
        return with_space
    return await shorten(messages, budget)


def last_user_index(messages: Sequence[Message]) -> int | None:
    """Index of the last user message; None if there is none."""
    return next((i for i in reversed(range(len(messages))) if messages[i].role == "user"), None)


def _note_lines(
    messages: Sequence[Message], last: int, dropped: Sequence[Exchange], facts: Sequence[UserFact]
) -> list[str]:
    """The lines of the note, the most important ones first: facts by relevance, then turns, then other facts."""
    question = messages[last].content
    dropped_indices = {index for exchange in dropped for index in exchange}
    age = {index: number for number, e in enumerate(reversed(split_exchanges(messages[:last])), 1) for index in e}
    is_relevant = [_share_topic(question, fact.text) for fact in facts]
    relevant = [
        fact
        for fact, matches in zip(facts, is_relevant, strict=True)
        if matches and (fact.index in dropped_indices or age[fact.index] >= MIN_AGE)
    ]
    others = [fact for fact in facts if fact.index in dropped_indices and fact not in relevant]
    lines = [f"- The user said: {fact.text}" for fact in (*reversed(relevant), *reversed(others))]
    shown = {fact.index for fact in relevant}
    turns = _similar_turns(messages, [exchange for exchange in dropped if shown.isdisjoint(exchange)], question)
    return [*lines[: len(relevant)], *turns, *lines[len(relevant) :]]


def _similar_turns(messages: Sequence[Message], dropped: Sequence[Exchange], question: str) -> list[str]:
    """Dropped exchanges with words of the question, the most similar one first."""
    query = " ".join(_topic_words(question))
    texts = ["\n".join(messages[index].content for index in exchange) for exchange in dropped]
    matches = LexicalIndex(texts).search(query, MAX_TURNS) if texts and query else []
    return [
        "- "
        + " / ".join(
            f"{messages[index].role}: {' '.join(messages[index].content.split())[:MAX_TURN_CHARS]}"
            for index in dropped[match.index]
            if messages[index].role in ("user", "assistant") and messages[index].content.strip()
        )
        for match in matches
    ]


def _topic_words(text: str) -> list[str]:
    return [word for word in split_words(text) if word not in STOP_WORDS]


def _share_topic(question: str, text: str) -> bool:
    """True if a text has a word of the question, one with the same beginning, or a synonym."""
    return not _topics(question).isdisjoint(_topics(text))


def _topics(text: str) -> set[str]:
    """Beginnings of the topic words of a text and of their synonyms."""
    words = set(_topic_words(text))
    words.update(*(group for group in SYNONYMS if not words.isdisjoint(group)))
    return {word[:STEM_CHARS] for word in words}
