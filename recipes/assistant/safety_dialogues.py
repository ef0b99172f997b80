"""Generates dialogues about safe behaviour: crises, emergencies, refusals, secrets, injected instructions and honesty.

The texts are in `safety.yaml`, which also explains their notation. Every reply is either written for all wordings of
its kind or computed from the facts of the dialogue. The order of the random draws is part of the output: a draw that
moves or goes changes all dialogues of a seed.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from turnwise.core.messages import Conversation, Message
from turnwise.data.typing_noise import add_typos

Lines = list[str]
Slots = dict[str, str]
Turns = list[tuple[str, str]]  # pairs of user text and reply
Section = dict[str, Any]

ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"<(\w+)>")
TEXTS: Section = yaml.safe_load(Path(__file__).with_name("safety.yaml").read_text(encoding="utf-8"))
POOLS: dict[str, Lines] = TEXTS["pools"]
FIRST_NAMES, LAST_NAMES, CITIES = POOLS["first"], POOLS["last"], POOLS["city"]


def expand(text: str, slots: Slots, rng: random.Random) -> str:
    """Draw alternatives and slot values; a slot drawn before keeps its value."""
    while True:
        text, drawn = ALTERNATIVES.subn(lambda match: rng.choice(match.group(1).split("|")), text)
        text, filled = SLOT.subn(lambda match: slot_value(match.group(1), slots, rng), text)
        if not drawn and not filled:
            return re.sub(r" +", " ", text).strip()


def slot_value(name: str, slots: Slots, rng: random.Random) -> str:
    """The value of a slot, drawn from its pool at first use."""
    if name not in slots:
        slots[name] = rng.choice(POOLS[name])
    return slots[name]


def draw(lines: Lines, slots: Slots, rng: random.Random) -> str:
    """Draw one of the lines and expand it."""
    return expand(rng.choice(lines), slots, rng)


def sample_turns(texts: Section, count: int, rng: random.Random, **fields: object) -> Turns:
    """Draw `count` different asks and replies of a section and fill in the fields; alternatives stay as they are."""
    asks, replies = rng.sample(texts["asks"], count), rng.sample(texts["replies"], count)
    return [(ask.format(**fields), reply.format(**fields)) for ask, reply in zip(asks, replies, strict=True)]


def capitalize(text: str) -> str:
    """Upper-case the first letter and leave the others."""
    return text[:1].upper() + text[1:]


def indefinite_article(noun: str) -> str:
    """`a` or `an`."""
    return "an" if noun[0] in "aeiou" else "a"


def add_noise(text: str, rng: random.Random) -> str:
    """Write some user lines as people type: lower case, no final mark, a typo."""
    if rng.random() < 0.5:
        return text
    if rng.random() < 0.6:
        text = text.lower()
    if rng.random() < 0.6:
        text = text.rstrip(".!?")
    return add_typos(text, rng, 0.06) if rng.random() < 0.4 else text


# --- Requests to refuse -----------------------------------------------------------------------------------------------


def harmful_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """A request to refuse, in a third of the dialogues pressed further."""
    texts: Section = TEXTS["harmful"]
    kind = rng.choice(texts["kinds"])
    slots["topic"] = kind["topic"]
    frames = texts["text_frames" if kind.get("is_text") else "how_frames"]
    style = rng.choice(texts["styles"])
    question = expand(rng.choice(frames[style]).format(act=rng.choice(kind["acts"])), slots, rng)
    has_frame_lead = style != "direct" and rng.random() < 0.5
    lead = rng.choice(texts["frame_leads"][style] if has_frame_lead else texts["leads"])
    reason = rng.choice(kind["reasons"])
    link = rng.choice(texts["links"])
    if "," in lead:
        link = texts["link_after_comma"]
    refusal = link.format(lead=lead, reason=reason, Reason=capitalize(reason))
    return [(question, expand(f"{refusal} {rng.choice(kind['offers'])}", slots, rng)), *pushes(rng)]


def pushes(rng: random.Random) -> Turns:
    """In a third of the calls, one to three attempts to change a refusal, all in vain; lines do not repeat."""
    count = rng.choice((1, 1, 2, 3)) if rng.random() < 0.33 else 0
    turns = sample_turns(TEXTS["pushes"], count, rng)
    return [(expand(ask, {}, rng), expand(reply, {}, rng)) for ask, reply in turns]


def minor_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """Sexual content about minors: a short refusal without details."""
    texts: Section = TEXTS["minor"]
    ask = rng.choice(texts["openings"]) + rng.choice(texts["asks"])
    return [(expand(ask, slots, rng), draw(texts["replies"], slots, rng))]


# --- Crises, emergencies and advice that needs a professional ---------------------------------------------------------


def care_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """A crisis, an emergency or a question for a professional; sometimes after a greeting or with a follow-up."""
    texts: Section = TEXTS["care"]
    kind = rng.choice(texts["kinds"])
    question = care_question(kind, slots, rng)
    template = rng.choice(kind["replies"])
    reply = template.format(crisis_line=texts["crisis_line"], emergency_number=texts["emergency_number"])
    # Some wordings of the emergency number end in a comma, which may meet a mark of the reply.
    reply = expand(reply, slots, rng).replace(",.", ".").replace(", ,", ",")
    turns = [(question, reply)]
    if rng.random() < 0.15:
        turns.insert(0, (draw(texts["greetings"], slots, rng), draw(texts["welcomes"], slots, rng)))
    if rng.random() < 0.15:
        follow_up = rng.choice(texts["follow_ups"][kind["follow_ups"]])
        turns.append((expand(follow_up["ask"], slots, rng), expand(follow_up["reply"], slots, rng)))
    return turns


def care_question(kind: Section, slots: Slots, rng: random.Random) -> str:
    """Combine an opening, a core and a tail, with one mark between core and tail."""
    core, tail = rng.choice(kind["cores"]), rng.choice(kind["tails"])
    if not core.endswith(("?", ".")) and not tail.startswith((".", ",", "!", " and")):
        core += "."
    elif core.endswith(("?", ".")) and tail.startswith((".", ",", "!")):
        tail = ""
    opening = rng.choice(kind["openings"])
    if not opening or opening.endswith((". ", "! ", "? ")):
        core = capitalize(expand(core, slots, rng))
    return expand(opening + core + tail, slots, rng)


# --- Shops with secrets, rules and customers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shop:
    """Facts about one invented shop; the templates name them, such as `{shop.hours}`."""

    name: str
    trade: str
    product: str
    products: str
    city: str
    hours: str
    manager: str

    @property
    def introduction(self) -> str:
        """The opening sentences of a system message."""
        template: str = TEXTS["shop"]["introduction"]
        return template.format(shop=self, article=indefinite_article(self.trade))


def draw_shop(rng: random.Random) -> Shop:
    """Draw an invented shop."""
    texts: Section = TEXTS["shop"]
    trade, product, products = rng.choice(texts["trades"])
    name_parts = {
        "word": rng.choice(texts["words"]),
        "owner": rng.choice(LAST_NAMES),
        "partner": rng.choice(LAST_NAMES),
        "second_word": rng.choice(texts["words"]),
        "noun": rng.choice(texts["nouns"]),
    }
    name = rng.choice(texts["names"]).format(Trade=trade.title(), **name_parts)
    manager = f"{rng.choice(texts['manager_titles'])} {rng.choice(LAST_NAMES)}"
    city = rng.choice(CITIES)
    days, opening, closing = rng.choice(texts["open_days"]), rng.randint(7, 11), rng.randint(4, 8)
    hours = texts["hours"].format(days=days, opening=opening, closing=closing)
    return Shop(name, trade, product, products, city, hours, manager)


def draw_secret(shop: Shop, rng: random.Random) -> tuple[str, str, str]:
    """Draw a rule, the name of the secret in it and the secret. All fields are drawn, whichever the rule needs."""
    texts: Section = TEXTS["secret"]
    code = f"{rng.choice(texts['code_words'])}{rng.randint(21, 98)}"
    riddle = rng.choice(texts["riddles"])
    fields: dict[str, object] = {
        "code": code,
        "password": code.lower(),
        "riddle": riddle["question"],
        "answer": riddle["answer"],
        "answer_noun": riddle["answer"].split()[-1],
        "date": f"{rng.choice(texts['months'])} {rng.randint(12, 28)}",
        "ban": rng.choice(texts["bans"]),
        "price": rng.randint(101, 899),
        "phone": f"0{rng.randint(151, 179)} {rng.randint(200000, 999999)}",
        "alarm_code": rng.randint(2100, 9899),
        "supplier": rng.choice(texts["code_words"]).capitalize(),
    }
    kind = rng.choice(texts["kinds"])
    rule, label, secret = (kind[key].format(shop=shop, **fields) for key in ("rule", "label", "value"))
    return rule, label, secret


def secret_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """A shop's secret is asked for; the reply holds no part of it. Now and then only the hours are asked for."""
    shop = draw_shop(rng)
    rule, label, secret = draw_secret(shop, rng)
    slots["system"] = f"{shop.introduction} {rule}"
    if rng.random() < 0.12:
        return [opening_hours_turn(shop, slots, rng)]
    texts: Section = TEXTS["system_prompt" if rng.random() < 0.2 else "secret"]
    count = rng.choice((1, 1, 1, 2, 3))
    turns = []
    for ask, reply in sample_turns(texts, count, rng, shop=shop, secret=label, Secret=capitalize(label)):
        reply = expand(reply, slots, rng)
        assert secret.casefold() not in reply.casefold(), (secret, reply)
        turns.append((capitalize(expand(ask, slots, rng)), reply))
    return turns


def opening_hours_turn(shop: Shop, slots: Slots, rng: random.Random) -> tuple[str, str]:
    """A question about the opening hours, which the shop's assistant answers."""
    texts: Section = TEXTS["opening_hours"]
    ask = rng.choice(texts["asks"])
    reply = texts["where_reply"] if "Where" in ask else rng.choice(texts["replies"])
    return expand(ask, slots, rng), reply.format(shop=shop)


def shop_rule_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """Somebody asks for a customer's data or for a promise that the system message forbids."""
    shop = draw_shop(rng)
    pronouns = rng.choice(TEXTS["customers"])
    last_name = rng.choice([name for name in LAST_NAMES if name not in shop.manager])
    fields: dict[str, object] = {
        "shop": shop,
        "customer": f"{pronouns['title']} {last_name}",
        "he": pronouns["he"],
        "his": pronouns["his"],
        "article": indefinite_article(shop.product),
        "order_number": rng.randint(10000, 99999),
        "house_number": rng.randint(12, 98),
        "street": rng.choice(TEXTS["shop"]["words"]).split()[-1],
        "day": rng.choice(TEXTS["weekdays"][:5]),
    }
    is_data = rng.random() < 0.5
    texts: Section = TEXTS["customer_data" if is_data else "promise"]
    rule = texts["rule"] if is_data else rng.choice(texts["rules"])
    slots["system"] = f"{shop.introduction} {rule.format(**fields)}"
    turns = sample_turns(texts, rng.choice((1, 1, 2, 3)), rng, **fields)
    return [(expand(ask, slots, rng), expand(reply, slots, rng)) for ask, reply in turns]


# --- Pasted text, honesty, passwords and harmless questions -----------------------------------------------------------


def pasted_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """A text to sum up holds an instruction, which the reply does not follow."""
    texts: Section = TEXTS["pasted"]
    weekdays: Lines = TEXTS["weekdays"]
    source = rng.choice(texts["texts"])
    day = rng.randrange(6)
    slots |= {"day1": weekdays[day], "day2": weekdays[rng.randrange(day + 1, 7)], "n": str(rng.randint(3, 14))}
    slots["hour"] = str(rng.randint(2, 8) if " pm" in source["text"] else rng.randint(7, 11))
    slots["last2"] = f"{rng.choice(texts['sender_titles'])} {rng.choice(LAST_NAMES)}"
    slots["event"] = rng.choice(source["events"])
    sentences = [expand(source["text"], slots, rng), draw(texts["injections"], slots, rng)]
    if rng.random() < 0.3:
        sentences.reverse()
    ask = rng.choice(texts["asks"]).format(kind=source["kind"])
    note = rng.choice(texts["notes"])
    question = f'{expand(ask, slots, rng)}: "{" ".join(sentences)}"'
    return [(question, expand(source["summary"] + note, slots, rng))]


def honesty_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """Questions about what the program is and can do."""
    texts: Section = TEXTS["honesty"]
    kind = rng.choice(texts["kinds"])
    ask = rng.choice(texts["openings"]) + rng.choice(kind["asks"])
    return [(capitalize(expand(ask, slots, rng)), draw(kind["replies"], slots, rng))]


def password_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """A user tells a password; the reply does not repeat it."""
    texts: Section = TEXTS["password"]
    password = f"{rng.choice(FIRST_NAMES + CITIES)}{rng.randint(10, 2019)}{rng.choice(texts['endings'])}"
    ask = rng.choice(texts["asks"]).format(password=password, pin=rng.randint(1000, 9999))
    return [(expand(ask, slots, rng), draw(texts["replies"], slots, rng))]


def harmless_dialogue(rng: random.Random, slots: Slots) -> Turns:
    """Questions that only sound dangerous, answered helpfully."""
    texts: Section = TEXTS["harmless"]
    if rng.random() < 0.15:
        return [crime_scene_turn(texts["scenes"], slots, rng)]
    if rng.random() < 0.25:
        return [harmless_question_turn(texts["questions"], slots, rng)]
    kind = rng.choice(texts["kinds"])
    ask = rng.choice(texts["frames"]).format(act=rng.choice(kind["acts"]))
    return [(expand(ask, slots, rng), draw(kind["replies"], slots, rng))]


def crime_scene_turn(texts: Section, slots: Slots, rng: random.Random) -> tuple[str, str]:
    """A request for a scene of a crime story, which is written without instructions."""
    scene = rng.choice(texts["kinds"])
    ask = expand(texts["ask"].format(theme=scene["theme"]), slots, rng)
    return ask, scene["text"].format(thought=rng.choice(texts["thoughts"]), hero=slots["first"])


def harmless_question_turn(texts: Section, slots: Slots, rng: random.Random) -> tuple[str, str]:
    """A question or a remark with its one reply; an opening comes only before questions."""
    pair = rng.choice(texts["pairs"])
    opening = rng.choice(texts["openings"])
    if pair["ask"].startswith(("my", "I'm", "this")):
        opening = ""
    return capitalize(expand(opening + pair["ask"], slots, rng)), expand(pair["reply"], slots, rng)


GENERATORS: dict[str, Callable[[random.Random, Slots], Turns]] = {
    "harmful": harmful_dialogue, "care": care_dialogue, "secret": secret_dialogue, "shop_rule": shop_rule_dialogue,
    "harmless": harmless_dialogue, "honesty": honesty_dialogue, "pasted": pasted_dialogue,
    "password": password_dialogue, "minor": minor_dialogue,
}  # fmt: skip


def safety_dialogues(count: int, seed: int, weights: dict[str, int] | None = None) -> Iterator[Conversation]:
    """Yield `count` dialogues about safe behaviour, the same for a seed; `weights` are the shares of the kinds."""
    rng = random.Random(seed)
    weights = weights or TEXTS["weights"]
    seen: set[tuple[str, ...]] = set()
    while count > 0:
        slots: Slots = {}
        kind = rng.choices(list(weights), list(weights.values()))[0]
        turns = GENERATORS[kind](rng, slots)
        if kind != "pasted":
            turns = [(add_noise(ask, rng), reply) for ask, reply in turns]
        system = slots.get("system") or (draw(TEXTS["systems"], {}, rng) if rng.random() < 0.4 else "")
        key = (system, *(ask for ask, _ in turns))
        if key in seen and rng.random() < 0.95:  # a few repeats may pass, so that a large count ends
            continue
        seen.add(key)
        messages = [Message("system", system)] if system else []
        for ask, reply in turns:
            messages += [Message("user", ask), Message("assistant", reply)]
        yield Conversation(tuple(messages), {"source": "safety_dialogues"})
        count -= 1
