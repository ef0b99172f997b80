"""Bundled prompts for asking a chat model without any data of one's own, written for this project.

`small_talk.yaml` is a dialogue grammar (`data.grammar`). The other files hold line templates by topic (`prompt_lines`):
questions to a shop by intent, instructions, Chinese, requests that a careful assistant declines (and harmless ones that
only sound dangerous), and general knowledge.
"""

import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from turnwise.core.messages import Conversation, Message
from turnwise.data.grammar.expand import expand, restrict_topics
from turnwise.data.grammar.grammar_file import DialogueGrammar, load_grammar
from turnwise.data.grammar.line_templates import LineTemplate
from turnwise.data.prompts.prompt_filter import PromptFilter
from turnwise.data.prompts.prompt_lines import PromptLines, load_prompt_lines
from turnwise.data.typing_noise import FINAL_MARKS, add_typos

FOLDER = Path(__file__).parent
HURRIED_SHARE = 0.3  # of the prompts: lower case, no final mark, typos
TYPO_SHARE = 0.2  # of the words of a hurried prompt
MAX_HURRIED_CHARS = 100  # longer questions contain pasted texts, which have no typos
MAX_REJECTED = 2_000  # prompts of a kind in a row after which the kind counts as exhausted
LINE_KINDS = ("support", "instructions", "chinese", "boundaries", "knowledge")  # each has a file of line templates
ROTATION = (
    "small_talk", "instructions", "safety", "support", "small_talk", "chinese", "boundaries", "knowledge",
)  # fmt: skip
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
    topics = load_line_prompts("support").topics
    return {intent: [template.messages[-1][1] for template in templates] for intent, templates in topics.items()}


def load_line_prompts(kind: str) -> PromptLines:
    """Return the prompts of a kind of `LINE_KINDS`."""
    return load_prompt_lines(FOLDER / f"{kind}.yaml")


def bundled_prompts(seed: int) -> Iterator[tuple[Message, ...]]:
    """Yield distinct histories that end with a user turn, reproducibly for a seed; none is in the golden set.

    The kinds take turns in the order of `ROTATION`, so every prefix of the sequence covers them evenly; a kind that is
    exhausted is left out.
    """
    rng, prompt_filter = random.Random(seed), PromptFilter()
    sources = {kind: prompts_of_kind(kind, seed) for kind in dict.fromkeys(ROTATION)}
    rotation = list(ROTATION)
    while rotation:
        for kind in list(rotation):
            history = next(filter(prompt_filter.accept, itertools.islice(sources[kind], MAX_REJECTED)), None)
            if history is None:
                rotation.remove(kind)
                continue
            hurried = _hurry(history, rng)
            yield hurried if rng.random() < HURRIED_SHARE and prompt_filter.accept(hurried) else history


def prompts_of_kind(kind: str, seed: int) -> Iterator[tuple[Message, ...]]:
    """Yield histories of one kind of `ROTATION`, reproducibly for a seed; some may repeat or be in the golden set."""
    rng = random.Random(f"{seed} {kind}")
    if kind in LINE_KINDS:
        return load_line_prompts(kind).sample(rng)
    grammar, turns = load_small_talk(), (1, 5)
    if kind == "safety":
        grammar, turns = restrict_topics(grammar, SAFETY_TOPICS), (1, 2)
    return _cut_histories(expand(grammar, 1_000_000, seed=seed, turns=turns, noise=0), rng)


def prompt_histories(conversations: Iterator[Conversation], seed: int) -> Iterator[tuple[Message, ...]]:
    """Yield one history per conversation, up to a random user turn; conversations without a user turn are skipped."""
    return _cut_histories(conversations, random.Random(seed))


def _cut_histories(conversations: Iterator[Conversation], rng: random.Random) -> Iterator[tuple[Message, ...]]:
    for conversation in conversations:
        user_turns = [at for at, message in enumerate(conversation.messages) if message.role == "user"]
        if user_turns:
            yield conversation.messages[: rng.choice(user_turns) + 1]


def _hurry(history: tuple[Message, ...], rng: random.Random) -> tuple[Message, ...]:
    """Return the history with its question in lower case, without a final mark and with typos, unless it is long."""
    question = history[-1].content
    if len(question) > MAX_HURRIED_CHARS:
        return history
    question = add_typos(question.lower().rstrip(FINAL_MARKS), rng, TYPO_SHARE)
    return (*history[:-1], replace(history[-1], content=question)) if question else history


def prompts_digest() -> str:
    """SHA-256 of the files of prompts: other files give other prompts."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.yaml")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
