"""What people say to a chat model, written for this project: enough to ask one what it would answer, without any data.

`small_talk.yaml` is a grammar of dialogues (`data.grammar`), `support.yaml` questions to a shop by what is wanted. What
stands in `left_out.txt` is never the question: the golden set asks it, and who learns the questions of an examination
has not shown anything by passing.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from turnwise.core.messages import Conversation, Message
from turnwise.data.fingerprint import normalised
from turnwise.data.grammar import Grammar, about, expand, load_grammar
from turnwise.data.noise import roughen
from turnwise.data.strict_yaml import read_yaml
from turnwise.data.templates import Template, parse, text_of

HERE = Path(__file__).parent
HURRIED = 0.3  # of the questions, as in the grammar
# Topics of the grammar that want care: what a model answers there must not be lost.
CARE = (
    "crisis", "crisis_more", "emergency", "harm", "hacking", "personal_info", "adult", "prompt_leak", "medical",
    "legal", "financial", "taxes", "cannot_do", "bad_request", "insult", "swear",
)  # fmt: skip


def small_talk() -> Grammar:
    """The grammar of small talk, facts, limits and safety."""
    return load_grammar(HERE / "small_talk.yaml")


def support_lines() -> dict[str, list[Template]]:
    """Questions to a shop in few words, by intent."""
    lines: dict[str, list[str]] = read_yaml(HERE / "support.yaml", "prompts")
    return {intent: [parse(line) for line in ways] for intent, ways in lines.items()}


def prompts(seed: int) -> Iterator[tuple[Message, ...]]:
    """Histories that end with a user's turn, no two alike, the same ones for the same seed.

    Two of four are small talk, one is what wants care, one asks a shop for support. There are about a million.
    """
    rng, left_out = random.Random(seed), _left_out()
    grammar = small_talk()
    talk = _histories(expand(grammar, 1_000_000, seed=seed), rng)
    care = _histories(expand(about(grammar, CARE), 1_000_000, seed=seed, turns=(1, 2)), rng)
    seen: set[tuple[Message, ...]] = set()
    for found in zip(talk, care, _questions(rng), talk, strict=False):
        for history in found:
            if history not in seen and normalised(history[-1].content) not in left_out:
                seen.add(history)
                yield history


def histories(conversations: Iterator[Conversation], seed: int) -> Iterator[tuple[Message, ...]]:
    """One of each dialogue that has a user's turn: what was said up to it."""
    return _histories(conversations, random.Random(seed))


def _left_out() -> frozenset[str]:
    return frozenset((HERE / "left_out.txt").read_text(encoding="utf-8").splitlines())


def _histories(conversations: Iterator[Conversation], rng: random.Random) -> Iterator[tuple[Message, ...]]:
    for conversation in conversations:
        asked = [at for at, message in enumerate(conversation.messages) if message.role == "user"]
        if asked:
            yield conversation.messages[: rng.choice(asked) + 1]


def _questions(rng: random.Random) -> Iterator[tuple[Message, ...]]:
    lines = [ways for _, ways in sorted(support_lines().items())]
    while True:
        pieces = rng.choice(rng.choice(lines)).render(rng, {})
        yield (Message("user", text_of(roughen(pieces, rng) if rng.random() < HURRIED else pieces)),)
