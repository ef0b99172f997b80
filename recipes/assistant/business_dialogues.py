"""Writes dialogues in which the facts of a company stand in the system message and customers ask about them.

Companies, prices, hours and rules are invented per dialogue. An answer is computed from the same values as the system
message, so it is always consistent with it. The texts are in `business.yaml`, which explains its tables.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial
from operator import ge, itemgetter, le, lt
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from turnwise.core.messages import Conversation, Message
from turnwise.data.typing_noise import add_typos

Texts = dict[str, Any]  # a table of `business.yaml`
Item = dict[str, Any]  # words about something for sale, with its price in `cents` and its `capacity`
TEXTS: Texts = yaml.safe_load(Path(__file__).with_name("business.yaml").read_text(encoding="utf-8"))
DAYS: list[str] = TEXTS["days"]
NUMBERS: list[str] = TEXTS["numbers"]
COMPARISONS = {"at most": le, "at least": ge, "under": lt}


class Exchange(NamedTuple):
    """A question, its answer and a short form of the question for a follow-up."""

    question: str
    answer: str
    short: str = ""


class Fact(NamedTuple):
    """A sentence of the system message and a function that draws an exchange about it."""

    statement: str
    ask: Callable[[], Exchange]


def capitalize(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """Return the noun with "a" or "an"."""
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def join_and(parts: list[str]) -> str:
    """Join parts as in a sentence."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


class Company:
    """An invented company with its facts. `values` are the words of templates that are the same for all facts."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.kind: Texts = TEXTS["kind_defaults"] | rng.choice(TEXTS["kinds"])
        name = rng.choice(self.kind["names"])
        self.name: str = name.format(rng.choice(TEXTS["name_syllables"]) + rng.choice(TEXTS["name_endings"]))
        self.values: Texts = {**self.kind, "name": self.name, **rng.choice(TEXTS["currencies"])}
        self.is_24h = rng.random() < 0.3
        slug = "".join(c for c in self.name.lower().replace("&", "and") if c.isalpha())
        email = f"{rng.choice(TEXTS['contact']['mailboxes'])}@{slug}.example"
        phone = f"0{rng.randint(20, 89)} {rng.randint(100, 999)} {rng.randint(10, 99)} {rng.randint(10, 99)}"
        channel, address = ("email", email) if rng.random() < 0.6 else ("phone", phone)
        self.contact: Texts = TEXTS["contact"]["channels"][channel]
        self.values |= {**self.contact, "address": address, **rng.choice(TEXTS["closed_days"])}
        self.closed_days: list[str] = self.values["closed_days"]
        rows = rng.sample(self.kind["items"], rng.randint(2, min(4, len(self.kind["items"]))))
        self.items = [self._draw_item(*row) for row in rows]
        while len({item["cents"] for item in self.items}) < len(self.items):  # equal prices leave no single cheapest
            self.items = [self._draw_item(*row) for row in rows]
        self.facts = self._draw_facts()

    def system_message(self) -> str:
        """Return the facts as a system message in one of several styles."""
        statements = [fact.statement for fact in self.facts]
        text, lines, dashes = (sep.join(statements) for sep in (" ", "\n", "\n- "))
        a_noun = with_article(self.kind["noun"])
        return self._pick(TEXTS["system_messages"], a_noun=a_noun, text=text, lines=lines, dashes=f"- {dashes}")

    def _draw_item(self, item: str, plural: str, usual_price: int, capacity: int = 0) -> Item:
        cents = usual_price * 100 * self.rng.uniform(0.75, 1.35)
        step = 10 if cents < 1000 else 50 if cents < 3000 else 100
        cents = max(step, round(cents / step) * step)
        one, many = self.kind["group"]
        size = f"up to {capacity} {many}" if capacity > 1 else f"one {one}"
        words = {"item": item, "a": with_article(item), "plural": plural, "price": self._money(cents), "size": size}
        return {**words, "for_size": f" for {size}" if capacity else "", "cents": cents, "capacity": capacity}

    def _money(self, cents: int) -> str:
        if cents == 100:
            return str(self.values["amount_format"]).removesuffix("s").format(1)
        return str(self.values["amount_format"]).format(f"{cents / 100:.2f}" if cents % 100 else cents // 100)

    def _clock(self, minutes: int) -> str:
        hour, minute = divmod(minutes, 60)
        if self.is_24h:
            return f"{hour:02}:{minute:02}"
        return f"{(hour - 1) % 12 + 1}{f':{minute:02}' if minute else ''} {'am' if hour < 12 else 'pm'}"

    def _draw(self, options: Any) -> Any:
        """Return a single option, or one drawn from a list."""
        return self.rng.choice(options) if isinstance(options, list) else options

    def _pick(self, templates: str | list[str], **values: object) -> str:
        """Return a template, drawn if there are several, with the values filled in."""
        return str(self._draw(templates)).format(**{**self.values, **values})

    def _exchange(self, texts: Texts, outcome: str = "answers", **values: object) -> Exchange:
        """Draw a question, the answer for an outcome if there are different ones, and a short question."""
        if "pairs" in texts:
            return Exchange(*(self._pick(text, **values) for text in self.rng.choice(texts["pairs"])))
        question = self._draw(texts["questions"])
        if self.kind["by_phone"] and "questions_by_phone" in texts:
            question = self._draw(texts["questions_by_phone"])
        if isinstance(question, str):  # else it has its own starts of answers
            question = {"question": question, **texts.get("starts", {})}
        start = self._pick(question.get(outcome, ""))
        answer = self._pick(texts[outcome if outcome in texts else "answers"], start=start, **values)
        is_rare = "rare_short" in texts and self.rng.random() < 0.3
        short = self._pick(texts.get("rare_short" if is_rare else "short", ""), **values)
        return Exchange(capitalize(self._pick(question["question"], **values)), capitalize(answer), short)

    def _fact(self, texts: Texts, ask: Callable[[], Exchange] | None = None, **values: object) -> Fact:
        ask = ask or partial(self._exchange, texts, **values)
        return Fact(capitalize(self._pick(texts["statement"], **values)), ask)

    def _draw_facts(self) -> list[Fact]:
        """Return prices, hours and contact, and some other facts that fit the kind, in random order."""
        rng, tags = self.rng, self.kind["tags"]
        facts = [self._price_fact(), self._hours_fact(), self._fact(TEXTS["contact"], self._ask_contact)]
        optional_facts = [self._missing_fact()]
        builders = {"delivery": self._delivery_fact, "app": self._app_fact}
        for tag, texts in TEXTS["computed"].items():
            if tag in tags:
                build = builders.get(tag, self._limit_fact)
                optional_facts.append(build(texts | self.kind["replace"].get(tag, {})))
        optional_facts.append(self._request_fact())
        if self.kind["duration"]:
            optional_facts.append(self._duration_fact(**self.kind["duration"]))
        optional_facts += [self._fact(rng.choice(rules)) for tag, rules in TEXTS["rules"].items() if tag in tags]
        if "remote" not in tags:
            street = f"{rng.randint(2, 180)} {rng.choice(TEXTS['address']['streets'])}"
            optional_facts.append(self._fact(TEXTS["address"], address=street))
        rng.shuffle(optional_facts)
        facts += optional_facts[: rng.randint(2, 6)]
        rng.shuffle(facts)
        return facts

    def _price_fact(self) -> Fact:
        form = self.rng.choice(TEXTS["prices"]["statements"])
        entries = [self._pick(form["entry"], **item) for item in self.items]
        sentence = form["sentence"].format(entries=", ".join(entries), entries_and=join_and(entries))
        return Fact(capitalize(sentence), self._ask_price)

    def _ask_price(self) -> Exchange:
        """Draw a question about prices: of one item, several or the cheapest, a budget, or a number of people."""
        rng, money, texts = self.rng, self._money, TEXTS["prices"]
        low, high = sorted(rng.sample(self.items, 2), key=itemgetter("cents"))
        item, form = rng.choice(self.items), rng.choice(texts["forms"])
        values: Texts = {}
        if form == "capacity" and all(i["capacity"] for i in self.items):
            return self._ask_capacity()
        if form in ("sum", "difference"):
            values = {"x": low["a"], "y": high["a"], "low": low["price"], "high": high["price"]}
            values |= {"total": money(low["cents"] + high["cents"]), "gap": money(high["cents"] - low["cents"])}
        elif form == "count":
            form, count = "count_units" if self.kind["unit"] else "count_items", rng.randint(2, 6)
            values = {"count": count, "word": rng.choice((NUMBERS[count], str(count)))}
            values["total"] = money(count * item["cents"])
        elif form in ("cheapest", "dearest"):
            item = (min if form == "cheapest" else max)(self.items, key=itemgetter("cents"))
            values = {"word": rng.choice(texts[form]["words"])}
        elif form == "budget":
            budget = (item["cents"] // 500 + rng.randint(-1, 3)) * 500
            form = "enough" if budget > item["cents"] else "too_little" if 0 < budget < item["cents"] else "price"
            values = {"budget": money(budget), "rest": money(abs(budget - item["cents"])), "A": capitalize(item["a"])}
        return self._exchange(texts.get(form, texts["price"]), **item, **values)

    def _ask_capacity(self) -> Exchange:
        rng, texts = self.rng, TEXTS["capacity"]
        largest = max(self.items, key=itemgetter("capacity"))
        count = rng.randint(1 if rng.random() < 0.2 else 2, min(largest["capacity"] + 2, 10))
        group = f"{NUMBERS[count]} {self.kind['group'][count > 1]}"
        situation = "things" if "person" not in self.kind["group"] else "one_person" if count == 1 else "people"
        situation = texts["situations"][situation].format(group=group, number=NUMBERS[count])
        candidates = [item for item in self.items if item["capacity"] >= count]
        outcome = "answers" if candidates else "too_many"
        item = min(candidates or [largest], key=itemgetter("cents"))
        return self._exchange(texts, outcome, group=group, situation=situation, **item)

    def _hours_fact(self) -> Fact:
        rng, texts = self.rng, TEXTS["hours"]
        opening, closing = rng.choice(texts["opening"]), rng.choice(texts["closing"])
        if self.kind["opens_late"]:
            opening, closing = rng.choice(texts["late_opening"]), rng.choice(texts["late_closing"])
        late_day = rng.choice([day for day in DAYS[:5] if day not in self.closed_days]) if rng.random() < 0.3 else ""
        late = closing + rng.choice(texts["extensions"])
        self.values |= {"opening": self._clock(opening), "closing": self._clock(closing), "late_day": late_day}
        for name, note in texts["late_notes"].items():
            self.values[name] = self._pick(note, late=self._clock(late)) if late_day else ""
        return self._fact(texts, partial(self._ask_hours, opening, closing, late_day, late))

    def _ask_hours(self, opening: int, closing: int, late_day: str, late: int) -> Exchange:
        rng, texts = self.rng, TEXTS["hours"]
        we, form = self._pick(texts["subjects"]), rng.choice(texts["forms"])
        is_closed = self.closed_days and rng.random() < 0.4
        day = rng.choice(self.closed_days if is_closed else [day for day in DAYS if day not in self.closed_days])
        end = late if day == late_day else closing
        at, outcome = 0, "answers"
        if is_closed:
            form = "closed_except" if "except" in self.values["open_days"] else "closed"
        elif form in ("arrive", "early"):
            at = (end if form == "arrive" else opening) + rng.choice(texts[form]["offsets"])
            outcome = "open" if opening <= at < end else "closed"
        return self._exchange(texts[form], outcome, we=we, day=day, end=self._clock(end), at=self._clock(at))

    def _ask_contact(self) -> Exchange:
        """Draw a question about the contact, or one that only the contact can answer."""
        rng, share = self.rng, self.rng.random()
        if share < 0.45:
            return self._exchange(self.contact)
        if share < 0.6:
            return self._exchange(TEXTS["contact"]["no_channel"], sentence=self._pick(self.contact["sentences"]))
        topic = rng.choice([topic for topic in TEXTS["unknown"] if not (self.kind["by_phone"] and topic["on_site"])])
        things = [t for t in topic["things"] if not (self.kind["has_reduced_prices"] and "discount" in t)]
        question, answer = topic["question"].format(rng.choice(things)), rng.choice(TEXTS["unknown_answers"])
        return Exchange(question, answer.format(sentence=self._pick(self.contact["sentences"])))

    def _missing_fact(self) -> Fact:
        texts, thing = TEXTS["missing"], self.rng.choice(self.kind["missing"])
        plurals = join_and([item["plural"] for item in self.items])
        refusal = texts["refusals"]["plural" if thing.endswith("s") or " " in thing else "singular"]
        return self._fact(texts, thing=thing, plurals=plurals, refusal=refusal.format(thing=thing, plurals=plurals))

    def _delivery_fact(self, texts: Texts) -> Fact:
        rng, money = self.rng, self._money
        fee, free = (rng.choice(options) for options in texts["draw"].values())
        prices = {"fee": money(fee), "free": money(free)}

        def ask() -> Exchange:
            order, share = free + rng.choice(texts["offsets"]), rng.random()
            priced_form = "order" if share < 0.65 or order >= free else "gap" if share < 0.82 else "total"
            form = "general" if share < 0.25 else priced_form
            outcome = "if_free" if order >= free else "if_charged"
            values = {"order": money(order), "total": money(order + fee), "gap": money(abs(free - order))}
            return self._exchange(texts[form], outcome, **values, **prices)

        return self._fact(texts, ask, **prices)

    def _limit_fact(self, texts: Texts) -> Fact:
        """A rule with numbers; customers name values that it allows or not, unless the texts have pairs."""
        rng = self.rng
        drawn = {key: rng.choice(options) for key, options in texts["draw"].items()}
        words = {key: self._money(value) if key in ("fee", "amount") else value for key, value in drawn.items()}
        if "pairs" in texts:
            return self._fact(texts, **words)
        limit = drawn["limit"]
        values = texts.get("values") or [limit + offset for offset in texts["offsets"] if limit + offset > 2]

        def ask() -> Exchange:
            if rng.random() < texts["general_share"]:
                return self._exchange(texts["general"], **words)
            value = rng.choice(values)
            outcome = "allowed" if COMPARISONS[texts["is_allowed"]](value, limit) else "refused"
            span = texts.get("spans", {}).get(value) or texts["span"].format(value)
            return self._exchange(texts, outcome, span=span, **words)

        return self._fact(texts, ask, **words)

    def _app_fact(self, texts: Texts) -> Fact:
        noun = self.kind["noun"]
        place = self.rng.choice([place for place in texts["places"] if noun in place.get("kinds", [noun])])
        program = self.rng.choice(texts["programs"])
        return self._fact({**texts, **place}, program=program, thing=place["thing"], path=place["path"])

    def _request_fact(self) -> Fact:
        """Something that the assistant may not do, and who can."""
        rng, texts = self.rng, TEXTS["requests"]
        action = rng.choice([a for a in texts["actions"] if a.get("tag") in (None, *self.kind["tags"])])
        decider = self._pick(texts["deciders"], person=rng.choice(texts["people"]))
        values = {"act": action["act"], "decider": decider, "Decider": capitalize(decider), "who": decider.rstrip(",")}
        answers = [text for text in texts["answers"] if not (decider.endswith(",") and "who can." in text)]

        def ask() -> Exchange:
            answer = self._pick(answers, **values)
            return Exchange(rng.choice(action["questions"]), answer)

        return self._fact(texts, ask, **values)

    def _duration_fact(self, thing: str, unit: str, action: str = "") -> Fact:
        """How long something takes, with the time or weekday on which it is finished."""
        rng, texts = self.rng, TEXTS["durations"][unit]
        length = rng.choice(texts["lengths"])
        values = {"a": with_article(thing), "thing": thing, "unit": unit, "action": action, "length": length}
        if unit == "minutes":
            ends = {self._clock(minutes): self._clock(minutes + length) for minutes in range(600, 1000, 15)}
        else:
            week = "the following " if length >= 7 else ""
            later = zip(DAYS, DAYS[length % 7 :] + DAYS[: length % 7], strict=True)
            ends = {day: week + end for day, end in later if not {day, end} & {*self.closed_days}}

        def ask() -> Exchange:
            if rng.random() < 0.4:
                return self._exchange(texts["general"], **values)
            first = rng.choice([*ends] or [""])
            form = "finish" if ends else "no_finish"
            return self._exchange(texts[form], first=first, last=ends.get(first), **values)

        return self._fact(TEXTS["durations"], ask, **values)


def type_casually(question: str, rng: random.Random, may_greet: bool) -> str:
    """Return the question as people type it: sometimes with a greeting, in lower case, without marks or with a typo."""
    if may_greet and rng.random() < 0.25:
        lead = rng.choice(TEXTS["leads"])
        has_name = question.startswith(("I ", "I'", *DAYS)) or question[1:2].isupper()
        is_sentence = lead.endswith((". ", "! "))
        question = lead + (question if has_name or is_sentence else question[:1].lower() + question[1:])
    if rng.random() < 0.1 and not any(words in question for words in TEXTS["no_thanks_after"]):
        question += rng.choice(TEXTS["thanks"])
    question = question.lower() if rng.random() < 0.28 else question
    question = question.rstrip("?.!") if rng.random() < 0.2 else question
    return add_typos(question, rng, 0.05) if rng.random() < 0.1 else question


def vary_answer(answer: str, rng: random.Random, is_last: bool) -> str:
    """Return the answer, sometimes with a friendly opening or closing sentence."""
    words = answer.lower()
    if any(word in words for word in TEXTS["negative_words"]):
        return answer
    if not words.startswith("yes") and rng.random() < 0.12:
        return f"{rng.choice(TEXTS['openings'])}{answer}"
    closings = TEXTS["goodbyes"] + TEXTS["closings"] if is_last else TEXTS["closings"]
    return f"{answer}{rng.choice(closings)}" if rng.random() < 0.12 else answer


def can_follow(short: str, questions: str, company: Company) -> bool:
    """Return whether a short question asks for something that earlier questions did not name."""
    if not short or short in TEXTS["new_topics"]:
        return False
    subjects = [[word] for word in (*DAYS, *NUMBERS, *(item["item"] for item in company.items))] + TEXTS["synonyms"]
    return not any(any(w in short for w in words) and any(w in questions for w in words) for words in subjects)


def draw_follow_up(fact: Fact, questions: str, company: Company) -> Exchange | None:
    """Draw an exchange with a short question about the same fact, if one fits after the earlier questions."""
    exchanges = (fact.ask() for _ in range(8))
    return next((Exchange(e.short, e.answer) for e in exchanges if can_follow(e.short, questions, company)), None)


def link_question(exchange: Exchange, rng: random.Random) -> str:
    """Return the question as people ask it after another one."""
    question = exchange.question
    if exchange.short in TEXTS["new_topics"] and rng.random() < 0.5:
        return exchange.short
    if rng.random() < 0.3 and question.startswith(tuple(TEXTS["question_words"])):
        return f"{rng.choice(TEXTS['links'])}{question[:1].lower()}{question[1:]}"
    return question


def draw_dialogue(rng: random.Random) -> tuple[Message, ...]:
    """Draw a company and one to three exchanges about its facts, sometimes after a greeting."""
    company = Company(rng)
    messages = [Message("system", company.system_message())]
    if rng.random() < 0.15:
        greeting = rng.choice(TEXTS["greetings"])
        kind = "request" if greeting in TEXTS["greetings_with_request"] else "other"
        answers = TEXTS["greeting_answers"][kind]
        messages += [Message("user", greeting), Message("assistant", rng.choice(answers).format(name=company.name))]
    count = rng.choices((1, 2, 3), (45, 35, 20))[0]
    facts = rng.sample(company.facts, count)
    questions = ""
    for index, fact in enumerate(facts):
        can_repeat = index and rng.random() < 0.35
        follow_up = draw_follow_up(facts[index - 1], questions, company) if can_repeat else None
        if follow_up:
            facts[index] = facts[index - 1]
        exchange = follow_up or fact.ask()
        question = link_question(exchange, rng) if index and not follow_up else exchange.question
        questions += f" {question}"
        user_text = type_casually(question, rng, may_greet=len(messages) == 1)
        answer = vary_answer(exchange.answer, rng, is_last=index == count - 1)
        messages += [Message("user", user_text), Message("assistant", answer)]
    return tuple(messages)


def business_dialogues(count: int, seed: int) -> Iterator[Conversation]:
    """Yield `count` dialogues with a company's assistant; the same seed gives the same dialogues."""
    rng = random.Random(seed)
    for _ in range(count):
        yield Conversation(draw_dialogue(rng), {"source": "business_dialogues"})
