"""Bundled prompts for asking a chat model without any data of one's own, written for this project.

`small_talk.yaml` is a dialogue grammar (`data.grammar`); `support.yaml` holds questions to a shop by intent.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from turnwise.core.messages import Conversation, Message
from turnwise.core.strict_yaml import read_yaml
from turnwise.data.grammar.expand import expand, restrict_topics
from turnwise.data.grammar.grammar_file import DialogueGrammar, load_grammar
from turnwise.data.grammar.line_templates import LineTemplate, join_spans, parse_template
from turnwise.data.prompts.prompt_filter import PromptFilter
from turnwise.data.typing_noise import add_typos

FOLDER = Path(__file__).parent
HURRIED_SHARE = 0.3  # of the prompts: lower case, no final mark, typos
TYPO_SHARE = 0.2  # of the words of a hurried prompt
MAX_REJECTED = 2_000  # prompts of a kind in a row after which the kind counts as exhausted
# Topics of the grammar that need care: training must not change the answers to them.
SAFETY_TOPICS = (
    "crisis", "crisis_more", "emergency", "harm", "hacking", "personal_info", "adult", "prompt_leak", "medical",
    "legal", "financial", "taxes", "cannot_do", "bad_request", "insult", "swear",
)  # fmt: skip


def load_small_talk() -> DialogueGrammar:
    """Return the grammar of small talk, facts, limits and safety."""
    return load_grammar(FOLDER / "small_talk.yaml")


def load_support_lines() -> dict[str, list[LineTemplate]]:
    """Return short questions to a shop by intent."""
    lines: dict[str, list[str]] = read_yaml(FOLDER / "support.yaml", "prompts")
    return {intent: [parse_template(line) for line in alternatives] for intent, alternatives in lines.items()}


def bundled_prompts(seed: int) -> Iterator[tuple[Message, ...]]:
    """Yield distinct histories that end with a user turn, reproducibly for a seed; none is in the golden set.

    Two of four prompts are small talk, one is on a safety topic, and one is a support question; a kind that is
    exhausted is left out.
    """
    rng = random.Random(seed)
    grammar, prompt_filter = load_small_talk(), PromptFilter()
    talk = _cut_histories(expand(grammar, 1_000_000, seed=seed, noise=0), rng)
    safety_grammar = restrict_topics(grammar, SAFETY_TOPICS)
    safety = _cut_histories(expand(safety_grammar, 1_000_000, seed=seed, turns=(1, 2), noise=0), rng)
    kinds = [talk, safety, talk, _support_questions(rng)]
    while kinds:
        for kind in list(kinds):
            history = next(filter(prompt_filter.accept, itertools.islice(kind, MAX_REJECTED)), None)
            if history is None:
                kinds.remove(kind)
                continue
            hurried = _hurry(history, rng)
            yield hurried if rng.random() < HURRIED_SHARE and prompt_filter.accept(hurried) else history


def prompt_histories(conversations: Iterator[Conversation], seed: int) -> Iterator[tuple[Message, ...]]:
    """Yield one history per conversation, up to a random user turn; conversations without a user turn are skipped."""
    return _cut_histories(conversations, random.Random(seed))


def _cut_histories(conversations: Iterator[Conversation], rng: random.Random) -> Iterator[tuple[Message, ...]]:
    for conversation in conversations:
        user_turns = [at for at, message in enumerate(conversation.messages) if message.role == "user"]
        if user_turns:
            yield conversation.messages[: rng.choice(user_turns) + 1]


def _support_questions(rng: random.Random) -> Iterator[tuple[Message, ...]]:
    templates_by_intent = [templates for _, templates in sorted(load_support_lines().items())]
    while True:
        template = rng.choice(rng.choice(templates_by_intent))
        yield (Message("user", join_spans(template.render(rng, {}))),)


def _hurry(history: tuple[Message, ...], rng: random.Random) -> tuple[Message, ...]:
    """Return the history with its question in lower case, without a final mark and with typos."""
    question = add_typos(history[-1].content.lower().rstrip(".?!"), rng, TYPO_SHARE)
    return (*history[:-1], replace(history[-1], content=question)) if question else history
