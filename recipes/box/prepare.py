"""Generates the training files of the bundled model: prepare.py DATA OUT

DATA is a folder with the open sets named in README.md beside this file; OUT receives `pretrain.jsonl`, `chat.jsonl`,
`more.jsonl`, `short.jsonl`, `valid_support.jsonl`, `valid_chat.jsonl`, `valid_small_talk.jsonl` and
`valid_short.jsonl`. Everything is seeded: the same DATA gives the same files.
"""

import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from turnwise.core.files import atomic_write
from turnwise.core.messages import Conversation, Message
from turnwise.data.grammar.expand import expand, restrict_topics
from turnwise.data.grammar.grammar_file import DialogueGrammar
from turnwise.data.grammar.line_templates import join_spans
from turnwise.data.prompts import load_small_talk, load_support_lines
from turnwise.data.sources import read_source
from turnwise.data.typing_noise import add_typing_noise

SYSTEM = "You are Turnwise, a friendly assistant."

# The support set writes what a company would fill in as {{Name}}; a model that ships should not say braces.
PLACEHOLDERS = {
    "Customer Support Phone Number": "the phone number on our contact page",
    "Customer Support Email": "the email address on our contact page",
    "Customer Support Email Address": "the email address on our contact page",
    "Customer Support Availability": "Monday to Friday from 9 to 17",
    "Customer Support Hours": "Monday to Friday from 9 to 17",
    "Customer Service Hours": "Monday to Friday from 9 to 17",
    "Customer Service Phone Number": "the phone number on our contact page",
    "Support Phone Number": "the phone number on our contact page",
    "Support Email": "the email address on our contact page",
    "Live Chat": "live chat",
    "Website Name": "website",
    "Website URL": "our website",
    "Website": "website",
    "website": "website",
    "Website or App": "website or app",
    "Company Name": "our company",
    "number of days": "30",
    "Order Number Anonymized": "you gave",
    "Order ID Anonymized": "you gave",
    "Purchase ID Anonymized": "you gave",
    "Purchase Number Anonymized": "you gave",
    "Bill Number Anonymized": "you gave",
    "Invoice Number Anonymized": "you gave",
}


# What can be learned only by heart, and wants to be said often.
BY_HEART = [
    "capital",
    "capital_of_where",
    "math_add",
    "math_sub",
    "math_mul",
    "opposites",
    "animal_sounds",
    "day_order",
    "colour_facts",
    "spelling",
    "rhymes",
    "name_recall",
]


# Where a name has to be taken up and remembered.
NAMES = ["my_name_is", "name_and_yours", "name_recall", "name_recall_b"]


def fill(text: str) -> str:
    """Replace what a company would fill in by words that stay true."""
    text = re.sub(r"\{\{([^}]*)\}\}", lambda m: PLACEHOLDERS.get(m.group(1).strip(), m.group(1).strip()), text)
    text = re.sub(r"\[X(?: to |-)Y\]", "5 to 10", text)
    text = re.sub(r"\b(our|the) our\b", "our", text)
    return re.sub(r"\b(our|the) the\b", "the", text)


def support(path: Path) -> Iterator[Conversation]:
    """Customer-support questions and answers."""
    for item in read_source(path):
        yield Conversation(
            tuple(Message(m.role, fill(m.content)) for m in item.messages), {"intent": item.meta["intent"]}
        )


def complete(path: Path, *, turns: int, longest: int, limit: int, rng: random.Random) -> list[Conversation]:
    """Short openings of open-domain dialogues that end on an assistant turn, a seeded sample of `limit`."""
    found = []
    for item in read_source(path):
        messages = item.messages[:turns]
        while messages and messages[-1].role != "assistant":
            messages = messages[:-1]
        if messages and all(len(m.content) <= longest for m in messages):
            found.append(Conversation(messages, {"source": path.parent.name}))
    rng.shuffle(found)
    return found[:limit]


def between(opening: Conversation, middle: Conversation, closing: Conversation) -> Conversation:
    """One conversation of three: people greet, ask and thank in one go."""
    messages = opening.messages + middle.messages + closing.messages
    system = tuple(m for m in messages if m.role == "system")[:1]
    return Conversation(system + tuple(m for m in messages if m.role != "system"), middle.meta)


def framed(items: list[Conversation], openings: list[Conversation], rng: random.Random) -> Iterator[Conversation]:
    """Every item alone or, four times in ten, after a greeting or before a word of thanks; sometimes with a system
    message."""
    nothing = Conversation(())
    for item in items:
        opening = rng.choice(openings) if rng.random() < 0.4 else nothing
        closing = rng.choice(openings) if rng.random() < 0.2 else nothing
        whole = between(opening, item, closing)
        if whole.messages[0].role != "system" and rng.random() < 0.2:
            whole = Conversation((Message("system", SYSTEM), *whole.messages), whole.meta)
        yield whole


def invented_names(count: int, rng: random.Random) -> tuple[str, ...]:
    """Names that nobody has, so that a name has to be copied and cannot be guessed."""
    onsets = ["b", "br", "ch", "d", "f", "g", "h", "j", "k", "kr", "l", "m", "n", "p", "r", "s", "sh", "st", "t", "th",
              "tr", "v", "w", "y", "z", ""]  # fmt: skip
    vowels = ["a", "e", "i", "o", "u", "ai", "ei", "ia", "ou"]
    codas = ["", "", "", "n", "l", "r", "s", "m", "k", "ck", "th", "nd", "x"]
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = rng.choice([1, 2, 2, 2, 3])
        name = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(syllables)) + rng.choice(codas)
        if 3 <= len(name) <= 9:
            found[name.capitalize()] = None
    return tuple(found)


def short_support(asked: list[Conversation], each: int, rng: random.Random) -> Iterator[Conversation]:
    """Support questions in few words, `each` times for every intent, answered as somebody with that intent was who
    named no number."""
    for intent, templates in load_support_lines().items():
        answers = [
            item.messages[1]
            for item in asked
            if item.meta["intent"] == intent and not re.search(r"\d|\b(Mr|Mrs|Ms)\b|\$", item.messages[0].content)
        ]
        for _ in range(each):
            pieces = rng.choice(templates).render(rng, {})
            question = join_spans(add_typing_noise(pieces, rng) if rng.random() < 0.3 else pieces)
            yield Conversation((Message("user", question), rng.choice(answers)), {"intent": intent})


def with_names(grammar: DialogueGrammar, names: tuple[str, ...]) -> DialogueGrammar:
    """The same grammar for people who are called otherwise."""
    return replace(grammar, slots={**grammar.slots, "name": names})


def new_to(items: list[Conversation], known: list[Conversation]) -> list[Conversation]:
    """Those of `items` whose words do not occur as a whole dialogue in `known`."""
    said = {tuple(m.content.casefold() for m in i.messages if m.role != "system") for i in known}
    return [i for i in items if tuple(m.content.casefold() for m in i.messages if m.role != "system") not in said]


def write(path: Path, items: list[Conversation]) -> None:
    """OpenAI-messages JSONL."""
    rows = (
        json.dumps({"messages": [m.as_dict() for m in i.messages], "meta": i.meta}, ensure_ascii=False) for i in items
    )
    atomic_write(path, "\n".join(rows) + "\n")
    print(f"{path}: {len(items):,} conversations")


def main(data: Path, out: Path) -> None:
    """Write all files."""
    rng = random.Random(7)
    grammar = load_small_talk()
    small = list(expand(grammar, 30_000, seed=1))
    one_turn = list(expand(grammar, 4_000, seed=2, turns=(1, 1)))
    asked = list(support(data / "bitext_customer/train.jsonl.gz"))
    coffee = complete(data / "taskmaster4/train.jsonl.gz", turns=6, longest=200, limit=1_500, rng=rng)
    open_chat = complete(data / "self_dialogue/train.jsonl.gz", turns=14, longest=220, limit=12_000, rng=rng)
    tasks = complete(data / "sgd/train.jsonl.gz", turns=8, longest=220, limit=2_000, rng=rng)
    answers = complete(data / "oasst1_en_pairs/train.jsonl.gz", turns=2, longest=420, limit=1_500, rng=rng)
    dolly = complete(data / "dolly_nocontext/train.jsonl.gz", turns=2, longest=260, limit=2_000, rng=rng)

    pretrain = open_chat + tasks + coffee + answers + dolly + asked + small[:8_000]
    rng.shuffle(pretrain)
    write(out / "pretrain.jsonl", pretrain)

    chat = small[:28_000] + list(framed(asked * 2, one_turn, rng)) + coffee[:500] + open_chat[:1_500] + dolly[:800]
    rng.shuffle(chat)
    write(out / "chat.jsonl", chat)

    by_heart = list(expand(restrict_topics(grammar, BY_HEART), 12_000, seed=3, turns=(1, 3)))
    more = list(framed(asked * 5, one_turn, rng)) + small[:12_000] + by_heart + coffee[:500] + open_chat[:4_000] + dolly
    rng.shuffle(more)
    write(out / "more.jsonl", more)

    names = invented_names(4_200, random.Random(11))
    everybody = with_names(grammar, (*grammar.slots["name"] * 4, *names[200:]))
    named = list(expand(everybody, 9_000, seed=4))
    introduced = list(expand(restrict_topics(everybody, NAMES), 5_000, seed=5, turns=(1, 4)))
    brief = list(short_support(asked, 100, random.Random(12)))
    short = [*framed(asked * 4 + brief, one_turn, rng), *named, *introduced, *by_heart[:6_000], *small[:5_000]]
    short += open_chat[:2_000]
    rng.shuffle(short)
    write(out / "short.jsonl", short)
    strangers = expand(restrict_topics(with_names(grammar, names[:200]), NAMES), 100, seed=98, turns=(1, 3))
    write(out / "valid_short.jsonl", [*new_to(list(short_support(asked, 5, random.Random(13))), brief), *strangers])

    held = list(support(data / "bitext_customer/valid.jsonl.gz"))
    write(out / "valid_support.jsonl", held)
    talk = complete(data / "self_dialogue/valid.jsonl.gz", turns=14, longest=220, limit=300, rng=rng)
    write(out / "valid_chat.jsonl", talk)
    unseen = new_to(list(expand(grammar, 600, seed=99)), small + by_heart + named + introduced)
    write(out / "valid_small_talk.jsonl", list(islice(unseen, 300)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
