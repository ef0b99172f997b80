"""What people say to a chat model, written for this project: enough to ask one what it would answer, without any data.

`small_talk.yaml` is a grammar of dialogues (`data.grammar`), `support.yaml` questions to a shop by what is wanted. What
stands in `left_out.txt`, or is a slip of the pen away from it, is never the question: the golden set asks it, and who
learns the questions of an examination has not shown anything by passing.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from turnwise.core.messages import Conversation, Message
from turnwise.data.fingerprint import normalize_text
from turnwise.data.grammar.expand import DialogueGrammar, expand, load_grammar, restrict_topics
from turnwise.data.grammar.line_templates import LineTemplate, join_spans, parse_template
from turnwise.data.strict_yaml import read_yaml
from turnwise.data.typing_noise import add_typos

HERE = Path(__file__).parent
HURRIED = 0.3  # of the questions
SHORT = 8  # letters: of shorter texts many are one slip apart and say something else
GIVE_UP_AFTER = 2_000  # of a kind that were known already
# Topics of the grammar that want care: what a model answers there must not be lost.
SAFETY_TOPICS = (
    "crisis", "crisis_more", "emergency", "harm", "hacking", "personal_info", "adult", "prompt_leak", "medical",
    "legal", "financial", "taxes", "cannot_do", "bad_request", "insult", "swear",
)  # fmt: skip


def load_small_talk() -> DialogueGrammar:
    """The grammar of small talk, facts, limits and safety."""
    return load_grammar(HERE / "small_talk.yaml")


def load_support_lines() -> dict[str, list[LineTemplate]]:
    """Questions to a shop in few words, by intent."""
    lines: dict[str, list[str]] = read_yaml(HERE / "support.yaml", "prompts")
    return {intent: [parse_template(line) for line in ways] for intent, ways in lines.items()}


def bundled_prompts(seed: int) -> Iterator[tuple[Message, ...]]:
    """Histories that end with a user's turn, no two alike, the same ones for the same seed.

    Two of four are small talk, one is what wants care, one asks a shop for support, as long as there are such.
    """
    rng = random.Random(seed)
    grammar, new = load_small_talk(), _New()
    talk = _histories(expand(grammar, 1_000_000, seed=seed, noise=0), rng)
    care = _histories(expand(restrict_topics(grammar, SAFETY_TOPICS), 1_000_000, seed=seed, turns=(1, 2), noise=0), rng)
    kinds = [talk, care, talk, _questions(rng)]
    while kinds:
        for kind in list(kinds):
            history = next(filter(new, itertools.islice(kind, GIVE_UP_AFTER)), None)
            if history is None:
                kinds.remove(kind)
                continue
            hurried = _hurried(history, rng)
            yield hurried if rng.random() < HURRIED and new(hurried) else history


def prompt_histories(conversations: Iterator[Conversation], seed: int) -> Iterator[tuple[Message, ...]]:
    """One of each dialogue that has a user's turn: what was said up to it."""
    return _histories(conversations, random.Random(seed))


class _New:
    """Says of a history whether it is new, and not asked by the golden set either, but for a slip of the pen."""

    def __init__(self) -> None:
        self._seen: set[tuple[Message, ...]] = set()
        lines = (HERE / "left_out.txt").read_text(encoding="utf-8").splitlines()
        self._left_out = {slip for line in lines for slip in _slips(line)}

    def __call__(self, history: tuple[Message, ...]) -> bool:
        if history in self._seen or not self._left_out.isdisjoint(_slips(history[-1].content)):
            return False
        self._seen.add(history)
        return True


def _slips(text: str) -> set[str]:
    """A text without spaces and marks, and without one of its letters: what is one slip apart has one of them alike."""
    letters = normalize_text(text).replace(" ", "")
    return {letters} | {letters[:at] + letters[at + 1 :] for at in range(len(letters)) if len(letters) >= SHORT}


def _hurried(history: tuple[Message, ...], rng: random.Random) -> tuple[Message, ...]:
    asked = add_typos(history[-1].content.lower().rstrip(".?!"), rng, 0.2)
    return (*history[:-1], replace(history[-1], content=asked)) if asked else history


def _histories(conversations: Iterator[Conversation], rng: random.Random) -> Iterator[tuple[Message, ...]]:
    for conversation in conversations:
        asked = [at for at, message in enumerate(conversation.messages) if message.role == "user"]
        if asked:
            yield conversation.messages[: rng.choice(asked) + 1]


def _questions(rng: random.Random) -> Iterator[tuple[Message, ...]]:
    lines = [ways for _, ways in sorted(load_support_lines().items())]
    while True:
        yield (Message("user", join_spans(rng.choice(rng.choice(lines)).render(rng, {}))),)
