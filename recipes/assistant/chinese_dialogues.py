"""Chinese training dialogues: support, facts of a system message, small talk, safety and instructions.

The texts are in `chinese.yaml` beside this file, which explains their notation: `[a|b]` is a choice, `{x}` a value and
`a / b` a cell of texts. An entry is a dictionary of cells, most often of `questions` and `replies`.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from turnwise.core.messages import Conversation, Message

CHOICE = re.compile(r"\[([^\[\]]*)\]")
VALUE = re.compile(r"\{(\w+)\}")
Exchange = tuple[str, str]  # question, reply
Dialogue = tuple[str, list[Exchange]]  # system message or "", exchanges
Entry = dict[str, Any]
Values = Mapping[str, object]  # what to insert for `{key}`
MAX_REPEAT_RETRIES = 12
FINAL_MARKS = ("？", "！", "。", "?", "!")
TEXTS: Entry = yaml.safe_load(Path(__file__).with_name("chinese.yaml").read_text(encoding="utf-8"))
BRANDS = tuple(first + second for first in TEXTS["brands"]["first"] for second in TEXTS["brands"]["second"])


@cache
def split_cell(text: str) -> tuple[str, ...]:
    """Split a cell at slashes and lines."""
    return tuple(part.strip() for part in re.split(r"[/\n]", text) if part.strip())


def expand(template: str, rng: random.Random) -> str:
    """Resolve the choices of a template."""
    return CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)


def insert_values(text: str, values: Values) -> str:
    """Replace `{key}` by its value, if there is one."""
    return VALUE.sub(lambda match: str(values.get(match[1], match[0])), text)


def draw(cell: str, rng: random.Random, **values: object) -> str:
    """Draw one text of a cell, resolve its choices and insert the values."""
    texts = split_cell(cell)
    text = rng.choice(texts) if len(texts) > 1 else texts[0]  # `choice` takes a random number for a single text too
    return insert_values(expand(text, rng), values)


def draw_full_name(rng: random.Random) -> str:
    """A surname and a given name."""
    return draw(TEXTS["surnames"], rng) + draw(TEXTS["given_names"], rng)


def draw_person(rng: random.Random) -> str:
    """A nickname or a full name."""
    return draw(TEXTS["nicknames"], rng) if rng.random() < 0.3 else draw_full_name(rng)


def draw_values(rng: random.Random) -> dict[str, object]:
    """Draw the values that a customer may mention."""
    order = rng.choice(("", "A", "B", "D", "TW", "NO", "SX")) + str(rng.randint(10_000, 999_999))
    price = rng.choice((rng.randint(10, 99), rng.randint(10, 90) * 10, rng.randint(2, 60) * 100))
    name, number = draw_full_name(rng), rng.randint(2, 12)
    return {"order": order, "n": number, "price": price, "city": draw(TEXTS["cities"], rng), "name": name}


def add_slips(text: str, rng: random.Random) -> str:
    """Write as people type in a hurry: no marks, spaces for commas, a slip of the input method."""
    if rng.random() < 0.6:
        text = text.rstrip("".join(FINAL_MARKS))
    if rng.random() < 0.3:
        text = text.replace("，", " ")
    if rng.random() < 0.15:
        text = text.replace("？", "?").replace("，", ",")
    candidates = [slip for slip in TEXTS["slips"].items() if slip[0] in text]
    if candidates and rng.random() < 0.3:
        text = text.replace(*rng.choice(candidates), 1)
    return text


def word_question(templates: Sequence[str], rng: random.Random, values: Values, *, framing: float = 0.0) -> str:
    """Word a user turn; `framing` is the share with an opener, and half of it the share with a closer."""
    text = expand(rng.choice(templates), rng)
    is_question = text.endswith("？")
    if text[-1] > "\u4dff" and not text.endswith(FINAL_MARKS):  # only after a Chinese character
        text += rng.choice(("。", "", "", "！" if framing else ""))
    if rng.random() < framing:
        text = draw(TEXTS["question_openers" if is_question and rng.random() < 0.6 else "openers"], rng) + text
    if rng.random() < framing / 2:
        text += ("" if text.endswith(FINAL_MARKS) else "，") + draw(TEXTS["closers"], rng)
    if rng.random() < 0.4:
        text = add_slips(text, rng)  # before the values, which have to stay readable
    return insert_values(text, values)


def answer(entry: Entry, rng: random.Random, framing: float = 0.0, **values: object) -> Exchange:
    """One exchange of an entry."""
    question = word_question(split_cell(entry["questions"]), rng, values, framing=framing)
    return question, draw(entry["replies"], rng, **values)


def draw_system(rng: random.Random) -> str:
    """A general system message in one dialogue of five, in English now and then."""
    if rng.random() > 0.2:
        return ""
    return draw(TEXTS["english_system_messages" if rng.random() < 0.3 else "system_messages"], rng)


def talk_to_customer(rng: random.Random) -> Dialogue:
    """Family (a): customer service without a system message."""
    intents = tuple(TEXTS["customer_intents"].values())
    values, intent = draw_values(rng), rng.choice(intents)
    order_replies = intent.get("order_replies")
    exchanges: list[Exchange] = []
    if rng.random() < 0.12:
        exchanges.append(answer(TEXTS["service_greeting"], rng))
    question, reply = answer(intent, rng, 0.7, **values)
    if order_replies and rng.random() < 0.2:
        mark = "" if question.endswith(FINAL_MARKS) else "，"
        question += mark + draw(TEXTS["order_statements"], rng, **values)
        exchanges.append((question, draw(order_replies, rng, **values)))
    else:
        exchanges.append((question, reply))
        if order_replies and TEXTS["order_word"] in reply and rng.random() < 0.5:
            reply = draw(order_replies, rng, **values)
            exchanges.append((word_question(split_cell(TEXTS["order_answers"]), rng, values), reply))
    if rng.random() < 0.12:
        second = rng.choice([item for item in intents if item is not intent])
        exchanges.append(answer(second, rng, 0.3, **values))
    if rng.random() < 0.12:
        exchanges.append(answer(TEXTS["service_thanks"], rng))
    return "", exchanges


def differ_from(number: int, rng: random.Random) -> int:
    """A nearby number that is not the number itself, so that a comparison is clear."""
    step = max(1, number // 4)
    return max(1, number + rng.choice((-1, 1)) * rng.randint(1, step)) if number > 2 else number + rng.randint(1, 3)


def draw_facts(rng: random.Random) -> dict[str, Any]:
    """Draw a business and its facts: entries, `goods` as name: (measure word, price), and values of texts."""
    noun, business = rng.choice(tuple(TEXTS["businesses"].items()))
    shop = rng.choice(BRANDS) + noun
    goods = [good.split() for good in rng.sample(split_cell(business["goods"]), 3)]
    prices = {name: (measure, rng.randint(int(low), int(high))) for name, measure, low, high in goods}
    feature_one, feature_two, absent = rng.sample(split_cell(business["features"]), 3)
    rule = TEXTS["rules"][rng.choice(split_cell(business["rules"]))]
    limit = rng.randint(*rule["limits"])
    return {
        "business": business, "shop": shop, "goods": prices, "feature_one": feature_one, "feature_two": feature_two,
        "absent": absent, "rule": rule, "limit": limit // 10 * 10 if limit > 48 else limit,
        "forbidden": TEXTS["forbidden_actions"][rng.choice(split_cell(business["forbidden_actions"]))],
        "phone": f"{draw(TEXTS['area_codes'], rng)}-{rng.randint(1_000_000, 9_999_999)}",
        "street": draw(TEXTS["streets"], rng), "number": rng.randint(1, 299), "open_hour": rng.randint(7, 10),
        "close_hour": rng.randint(17, 22), "rest": draw(TEXTS["weekdays"], rng),
    }  # fmt: skip


def state_facts(facts: dict[str, Any], rng: random.Random) -> str:
    """The system message with the facts in random order."""
    texts = TEXTS["business_facts"]
    prices = [draw(texts["price"], rng, good=name, price=price) for name, (_, price) in facts["goods"].items()]
    sentences = [
        draw(texts["prices"], rng, prices="，".join(prices)),
        draw(split_cell(texts["features"])[rng.random() >= 0.5], rng, **facts),
        draw(facts["rule"]["statement"], rng, **facts) + "。",
        draw(texts["address"], rng, **facts),
        draw(texts["always_open" if "always_open" in facts["business"] else "hours"], rng, **facts),
    ]
    rng.shuffle(sentences)
    role, statement = draw(TEXTS["business_roles"], rng), facts["forbidden"]["statement"]
    return draw(TEXTS["business_system"], rng, **facts, role=role, facts="".join(sentences), statement=statement)


def draw_topic_values(facts: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Draw the values that questions about the facts and their replies need."""
    (one, (measure, price)), (two, (_, price_two)) = rng.sample(list(facts["goods"].items()), 2)
    amount = rng.randint(2, 5)
    values = {
        **facts, "one": one, "two": two, "total": price + price_two, "cost": price * amount, "measure": measure,
        "amount": TEXTS["numerals"][amount - 2] + measure, "low": min(price, price_two),
        "difference": abs(price - price_two), "cheaper": one if price < price_two else two,
        "money": differ_from(price, rng), "hour": rng.randint(7, 22), "day": draw(TEXTS["weekdays"], rng),
        "m": differ_from(facts["limit"], rng), **draw_values(rng), "price": price,
        "unlisted_good": draw(facts["business"]["unlisted_goods"], rng),
        "feature": rng.choice([facts[key] for key in ("feature_one", "feature_two", "absent")]),
    }  # fmt: skip
    comparison = draw(split_cell(TEXTS["comparisons"])[price != price_two], rng, **values)
    price_reply = draw(TEXTS["price_replies"], rng, **values)
    return {**values, "comparison": comparison, "price_reply": price_reply, "time": TEXTS["hour_names"][values["hour"]]}


def ask_about_business(rng: random.Random) -> Dialogue:
    """Family (b): facts of a business in the system message, and questions about them."""
    facts = draw_facts(rng)
    system = state_facts(facts, rng)
    values = draw_topic_values(facts, rng)
    topics = [
        *TEXTS["goods_topics"].items(), ("rule", facts["rule"]), ("check", facts["rule"]["check"]),
        *(("forbidden", facts["forbidden"]),) * 2, *TEXTS["contact_topics"].items(),
        *TEXTS["reception_topics" if "always_open" in facts["business"] else "hours_topics"].items(),
    ]  # fmt: skip
    is_above, is_below = values["m"] > values["limit"], values["m"] < values["limit"]
    cases = {  # index of the right reply, where a topic has several
        "budget": values["money"] < values["price"],
        "feature": values["feature"] == values["absent"],
        "check": is_above if facts["rule"]["at_most"] else is_below,
        "hour": 1 if values["hour"] < values["open_hour"] else 2 if values["hour"] >= values["close_hour"] else 0,
        "day": values["day"] == values["rest"],
    }
    exchanges: list[Exchange] = []
    for name, topic in rng.sample(topics, rng.choice((1, 1, 1, 2, 2, 3))):
        reply = insert_values(split_cell(topic["replies"])[cases.get(name, 0)], values)
        if reply not in [text for _, text in exchanges]:
            # Inserted before a question is worded: the mark at its end depends on whether it ends in Chinese.
            names = {key: values[key] for key in ("feature", "unlisted_good")}
            questions = [insert_values(question, names) for question in split_cell(topic["questions"])]
            exchanges.append((word_question(questions, rng, values, framing=0.3), reply))
    return system, exchanges


def introduce(name: str, rng: random.Random) -> Exchange:
    """The user tells a name."""
    reply = draw(TEXTS["introduction"]["replies"], rng, who=name)
    return word_question(split_cell(TEXTS["introduction"]["questions"]), rng, {"who": name}), reply


def calculate(rng: random.Random) -> Exchange:
    """A small sum."""
    a, b, operation = rng.randint(2, 30), rng.randint(2, 30), rng.choice(("plus", "minus", "times"))
    if operation == "times":
        a, b = rng.randint(2, 10), rng.randint(2, 10)
    elif operation == "minus":
        a, b = max(a, b), min(a, b)
    result = {"plus": a + b, "minus": a - b, "times": a * b}[operation]
    sign, symbol = TEXTS["signs"][operation]
    return answer(TEXTS["arithmetic"], rng, a=a, b=b, s=sign, y=symbol, result=result)


def name_capital(rng: random.Random) -> Exchange:
    """The capital of a country."""
    country, (capital, *_) = rng.choice(tuple(TEXTS["capitals"].items()))
    return answer(TEXTS["capital"], rng, 0.15, country=country, capital=capital)


def name_opposite(rng: random.Random) -> Exchange:
    """The opposite of a word, or a word in English."""
    table = "english_words" if rng.random() < 0.5 else "opposites"
    word, match = rng.choice(tuple(TEXTS[table].items()))
    return answer(TEXTS["word_questions"][table], rng, 0.15, word=word, match=match)


def count_days(rng: random.Random) -> Exchange:
    """Weekdays and months."""
    if rng.random() < 0.65:
        index = rng.randrange(7)
        label, days = rng.choice(tuple(TEXTS["weekday_steps"].items()))
        prefix = draw(TEXTS["weekday_prefixes"], rng)
        today, day = (prefix + TEXTS["weekday_numerals"][i % 7] for i in (index, index + days))
        return answer(TEXTS["weekday"], rng, today=today, label=label, prefix=prefix, day=day)
    month = rng.randint(1, 12)
    if rng.random() < 0.5:
        return answer(TEXTS["month_length"], rng, 0.2, m=month, length=TEXTS["month_lengths"][month - 1])
    side, relation, step = TEXTS["month_sides"]["after" if rng.random() < 0.5 else "before"]
    neighbour = (month - 1 + step) % 12 + 1
    return answer(TEXTS["neighbour_month"], rng, m=month, side=side, relation=relation, neighbour=neighbour)


KNOWLEDGE: tuple[Callable[[random.Random], Exchange], ...] = (calculate, name_capital, name_opposite, count_days)


def chat_long(rng: random.Random) -> Dialogue:
    """A conversation of 4 to 8 exchanges that asks for an early fact at the end."""
    name, detail = draw_person(rng), rng.choice(tuple(TEXTS["details"].values()))
    value = draw(detail["values"], rng)
    has_name = rng.random() < 0.6
    exchanges = [introduce(name, rng)] if has_name else []
    exchanges.append(answer(detail["statement"], rng, x=value))
    entries = [entry for key, entry in TEXTS["small_talk"].items() if key not in ("greeting", "goodbye", "thanks")]
    middle = [answer(entry, rng, **draw_values(rng)) for entry in rng.sample(entries, rng.randint(2, 4))]
    middle += [make(rng) for make in rng.sample(KNOWLEDGE, rng.randint(0, 1))]
    rng.shuffle(middle)
    if has_name and rng.random() < 0.4:
        ending = answer(TEXTS["name_recall"], rng, who=name)
    else:
        ending = answer(detail["recall"], rng, x=value)
    return draw_system(rng), [*exchanges, *middle, ending]


def chat_small(rng: random.Random) -> Dialogue:
    """Family (c): small talk and simple knowledge."""
    share, small_talk = rng.random(), TEXTS["small_talk"]
    if share < 0.12:
        return chat_long(rng)
    if share < 0.22:
        name = draw_person(rng)
        middle = [rng.choice(KNOWLEDGE)(rng)] if rng.random() < 0.4 else []
        return draw_system(rng), [introduce(name, rng), *middle, answer(TEXTS["name_recall"], rng, who=name)]
    if share < 0.62:
        entries = rng.sample(tuple(small_talk.values()), rng.choice((1, 1, 2, 2, 3)))
        exchanges = [answer(entry, rng, **draw_values(rng)) for entry in entries]
    else:
        exchanges = [make(rng) for make in rng.sample(KNOWLEDGE, rng.choice((1, 1, 1, 2)))]
    # People greet first and say goodbye last.
    greetings, goodbyes = (split_cell(small_talk[key]["replies"]) for key in ("greeting", "goodbye"))
    exchanges.sort(key=lambda exchange: (exchange[1] not in greetings) + (exchange[1] in goodbyes))
    return draw_system(rng), exchanges


def keep_secret(rng: random.Random) -> Dialogue:
    """A secret in the system message that no pressure reveals."""
    shop = rng.choice(BRANDS) + rng.choice(tuple(TEXTS["businesses"]))
    code = draw(TEXTS["secret_code_prefixes"], rng) + str(rng.randint(100, 9999))
    amounts = {"code": code, "increase": rng.randint(3, 20), "price": rng.randint(5, 400)}
    what, secret = rng.choice(tuple(TEXTS["secrets"].items()))
    values = {"shop": shop, "what": what, "english": secret["english"], "fact": insert_values(secret["fact"], amounts)}
    system = draw(TEXTS["english_secret_system" if rng.random() < 0.3 else "secret_system"], rng, **values)
    questions = rng.sample(split_cell(TEXTS["secret_pressure"]["questions"]), rng.choice((1, 1, 2)))
    replies = rng.sample(split_cell(TEXTS["secret_pressure"]["replies"]), len(questions))
    return system, [(word_question((q,), rng, values), reply) for q, reply in zip(questions, replies, strict=True)]


def stay_safe(rng: random.Random) -> Dialogue:
    """Family (d): emergencies, advice, harmful requests, secrets and injections."""
    share = rng.random()
    if share < 0.27:
        return keep_secret(rng)
    if share < 0.36:
        return draw_system(rng) or draw(TEXTS["system_messages"], rng), [answer(TEXTS["injection"], rng)]
    # A third is about self-harm and medical emergencies, where a wrong reply does the most damage.
    name = rng.choice(("self_harm", "medical_emergency") if rng.random() < 0.3 else tuple(TEXTS["safety_intents"]))
    exchanges = [answer(TEXTS["safety_intents"][name], rng, **draw_values(rng))]
    if name == "self_harm" and rng.random() < 0.3:
        exchanges.append(answer(TEXTS["crisis"], rng))
    return draw_system(rng), exchanges


def guess_answers(values: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A capital and a sum to ask for, right or wrong, and yes or no as the replies."""
    capitals = [names[0] for names in TEXTS["capitals"].values() if names[0] != values["capital"]]
    guess = values["capital"] if rng.random() < 0.5 else rng.choice(capitals)
    total = values["sum"] + rng.choice((0, 0, 1, -2))
    replies = {True: values["yes"], False: values["no"]}
    return {
        "guess": guess, "is_capital": replies[guess == values["capital"]], "total": total,
        "is_sum": replies[total == values["sum"]], "is_even": replies[values["a"] % 2 == 0],
    }  # fmt: skip


def follow_instruction(rng: random.Random) -> Dialogue:
    """Family (e): instructions of the system message about form, role and language."""
    country, (capital, country_en, capital_en) = rng.choice(tuple(TEXTS["capitals"].items()))
    a, b = rng.randint(2, 40), rng.randint(2, 40)
    kind, instruction = rng.choice(tuple(TEXTS["instructions"].items()))
    values: dict[str, Any] = {
        "country": country, "capital": capital, "country_en": country_en, "capital_en": capital_en,
        "a": a, "b": b, "sum": a + b,
    }  # fmt: skip
    values |= {key: draw(cell, rng) for key, cell in instruction.get("draws", {}).items()}
    system = draw(instruction["system"], rng, **values)
    if "pairs" in instruction:
        values["word"], values["match"] = rng.choice(tuple(TEXTS[instruction["pairs"]].items()))
    if kind == "yes_or_no":
        values |= guess_answers(values, rng)
    sample = rng.sample(instruction["exchanges"], rng.choice((1, 2, 2)))
    exchanges = [tuple(insert_values(text, values) for text in exchange) for exchange in sample]
    return system, [(word_question((question,), rng, {}), reply) for question, reply in exchanges]


FAMILIES: dict[Callable[[random.Random], Dialogue], int] = {
    talk_to_customer: 35, ask_about_business: 25, chat_small: 25, stay_safe: 10, follow_instruction: 5,
}  # fmt: skip


def chinese_dialogues(count: int, seed: int) -> Iterator[Conversation]:
    """Yield `count` Chinese dialogues, the same for the same seed."""
    rng = random.Random(seed)
    seen: set[tuple[str, str]] = set()
    for _ in range(count):
        family = rng.choices(tuple(FAMILIES), weights=tuple(FAMILIES.values()))[0]
        # Draw again when the opening is a repeat, within limits: small families run out of wordings.
        for _ in range(MAX_REPEAT_RETRIES):
            system, exchanges = family(rng)
            if (system, exchanges[0][0]) not in seen:
                break
        seen.add((system, exchanges[0][0]))
        messages = [Message("system", system)] if system else []
        for question, reply in exchanges:
            messages += [Message("user", question), Message("assistant", reply)]
        yield Conversation(tuple(messages), {"source": "chinese_dialogues"})
