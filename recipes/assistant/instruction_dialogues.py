"""Generates dialogues about instructions on the form of an answer, recall in long conversations, and names of users.

The texts are in instruction.yaml beside this file. All answers are computed from its tables.
"""

import random
import re
from collections.abc import Iterator
from typing import Any

from assistant.instruction_facts import (
    DAYS,
    MONTHS,
    TEXTS,
    ask,
    build_fact,
    build_fact_turn,
    build_number_fact,
    build_word_fact,
    build_yes_no_fact,
    capitalize,
    join_lead,
    pick,
    sample_name,
    sample_values,
    type_hastily,
    with_article,
)  # fmt: skip

from turnwise.core.messages import Conversation, Message, Role

Pairs = list[tuple[str, str]]


def introduce_bot(rng: random.Random) -> str:
    """Return the first sentence of a system message and a space, or nothing."""
    forms = TEXTS["introductions"]
    named = pick(forms["named"], rng, bot=rng.choice(TEXTS["bots"]), tone=rng.choice(TEXTS["tones"]))
    unnamed = pick(forms["unnamed"], rng, tone=rng.choice(TEXTS["tones"]))
    return "" if rng.random() < 0.4 else rng.choice([named, unnamed]) + " "


def build_dialogue(system: str, turns: Pairs) -> Conversation:
    """Return the conversation of a system message (if any) and pairs of user and assistant text."""
    messages = [Message("system", system)] if system else []
    roles: tuple[Role, Role] = ("user", "assistant")
    # "orange" is the only colour or thing of the tables that begins with a vowel.
    for turn in turns:
        texts = (re.sub(r"\b([Aa]) (?=orange\b)", r"\1n ", text) for text in turn)
        messages += [Message(role, text) for role, text in zip(roles, texts, strict=True)]
    return Conversation(tuple(messages), {"source": "instruction_dialogues"})


def instruct(order: str, question: str, rng: random.Random) -> tuple[str, str]:
    """Return the system message and user message: the instruction stands in the one or in the other."""
    if rng.random() < 0.6:
        return introduce_bot(rng) + order, question
    order = type_hastily(order, rng)
    return "", f"{question} {order}" if rng.random() < 0.6 else f"{order.rstrip('.')}: {question}"


def follow_length(rng: random.Random) -> Conversation:
    """Instruction on the length or the kind of answer: one word, yes or no, digits, one sentence, at most N words."""
    kind = rng.choice(["word", "yes_no", "digits", "sentence", "limit"])
    limit = rng.randint(1, 9)
    builders = {"word": build_word_fact, "yes_no": build_yes_no_fact, "digits": build_number_fact}
    turns: Pairs = []
    system = ""
    for turn in range(rng.choice([1, 1, 1, 2, 3])):
        fact = builders.get(kind, build_fact)(rng)
        while kind in ("word", "limit") and " " in fact.short:
            fact = build_word_fact(rng)
        answer = fact.sentence
        if kind in ("word", "yes_no", "digits") or (kind == "limit" and len(fact.sentence.split()) > limit):
            answer = fact.short if kind == "digits" else capitalize(fact.short) + rng.choice(["", "."])
        question = ask(fact, rng)
        if turn == 0:
            words = "1 word" if limit == 1 else f"{limit} words"
            order = pick(TEXTS["length_orders"][kind], rng, limit=words, above=f"{limit + 1} words")
            system, question = instruct(order, question, rng)
        elif not system:
            break  # an instruction of the user holds for that message only
        turns.append((question, answer))
    return build_dialogue(system, turns)


def answer_plainly(rng: random.Random) -> Conversation:
    """Questions without an instruction, answered with a short sentence."""
    turns = [build_fact_turn(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
    return build_dialogue(introduce_bot(rng).strip() if rng.random() < 0.4 else "", turns)


def build_foreign_turn(language: str, rng: random.Random) -> tuple[str, str]:
    """Return a message in English and the answer in `language`."""
    kind = rng.choice(["phrase", "phrase", "phrase", "day", "sum"])
    if kind == "phrase":
        phrase = rng.choice(TEXTS["phrases"])
        return rng.choice(phrase["messages"]), phrase[language]
    words, questions = TEXTS["languages"][language], TEXTS["foreign_questions"][kind]
    if kind == "day":
        index = rng.randrange(7)
        answer = words["next_day"].format(day=words["days"][index], next_day=words["days"][(index + 1) % 7])
        return pick(questions, rng, day=DAYS[index]), answer
    first = rng.randint(1, 10)
    second = rng.randint(1, 12 - first)
    numbers = words["numbers"]
    answer = words["sum"].format(first=numbers[first], second=numbers[second], sum=numbers[first + second])
    return pick(questions, rng, first=first, second=second), capitalize(answer)


def translate_word(language: str, rng: random.Random) -> Conversation:
    """The translation of a colour or a day."""
    english, table = rng.choice([(TEXTS["translated_colours"], "colours"), (DAYS, "days")])
    index = rng.randrange(len(english))
    word, answer = english[index], TEXTS["languages"][language][table][index]
    lead = pick(TEXTS["leads"], rng)
    question = f"{lead} {pick(TEXTS['translations']['questions'], rng, word=word, language=language)}".strip()
    values = {"word": word, "capital": capitalize(word), "answer": answer, "language": language}
    return build_dialogue("", [(type_hastily(question, rng), pick(TEXTS["translations"]["answers"], rng, **values))])


def follow_language(rng: random.Random) -> Conversation:
    """Answers in another language, and translations of single words."""
    language = rng.choice(list(TEXTS["languages"]))
    if rng.random() < 0.25:
        return translate_word(language, rng)
    question, answer = build_foreign_turn(language, rng)
    orders = TEXTS["language_orders"]
    system = introduce_bot(rng) + pick(orders["system"], rng, language=language)
    turns = [(type_hastily(question, rng), answer)]
    if rng.random() < 0.2:
        return build_dialogue("", [(f"{pick(orders['user'], rng, language=language)} {question}", answer)])
    for _ in range(rng.choice([0, 0, 1, 2])):
        question, answer = build_foreign_turn(language, rng)
        turns.append((type_hastily(question, rng), answer))
    return build_dialogue(system, turns)


def play_persona(rng: random.Random) -> Conversation:
    """A role with a name, a job and a workplace; the answers stay in it."""
    texts = TEXTS["persona"]
    job, task, workplace = rng.choice(TEXTS["jobs"])
    name, city = rng.choice(TEXTS["bots"] + TEXTS["people"]), rng.choice(TEXTS["cities"])
    values = {"name": name, "city": city, "role": with_article(job), "task": task}
    values["workplace"] = f"{with_article(workplace)} in {city}"
    system = f"{pick(texts['systems'], rng, **values)} {pick(texts['additions'], rng)}".strip()
    exchanges = rng.sample(texts["exchanges"], rng.choice([1, 2, 2, 3]))
    lead = pick(texts["greetings"], rng)
    turns = []
    for exchange in exchanges:
        question = join_lead(lead, pick(exchange["questions"], rng))
        turns.append((type_hastily(question, rng), pick(exchange["answers"], rng, **values)))
        lead = ""
    return build_dialogue(system, turns)


def use_phrase(rng: random.Random) -> Conversation:
    """Every answer begins or ends with a fixed phrase."""
    texts = TEXTS["fixed_phrase"]
    at_start = rng.random() < 0.5
    phrase = rng.choice(texts["openings" if at_start else "closings"])
    verbs = texts["opening_verbs" if at_start else "closing_verbs"]
    orders = [order.format(verb=rng.choice(verbs), phrase=phrase) for order in texts["orders"]]
    facts = [build_fact_turn(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
    turns = [(question, f"{phrase} {answer}" if at_start else f"{answer} {phrase}") for question, answer in facts]
    return build_dialogue(introduce_bot(rng) + rng.choice(orders), turns)


def avoid_word(rng: random.Random) -> Conversation:
    """The answer must not contain a certain word."""
    word, question, answer = rng.choice(TEXTS["forbidden_words"])
    orders = TEXTS["forbidden_word_orders"]
    if rng.random() < 0.25:
        return build_dialogue("", [(f"{pick(orders, rng, word=word)} {question}", answer)])
    system = introduce_bot(rng) + pick(orders, rng, word=word)
    return build_dialogue(system, [(type_hastily(question, rng), answer)])


def classify_message(rng: random.Random) -> Conversation:
    """The message is sorted into one of several classes."""
    classes: dict[str, list[str]] = rng.choice(TEXTS["classes"])
    labels = list(classes)
    rng.shuffle(labels)
    order = pick(TEXTS["class_orders"], rng, classes=", ".join(labels[:-1]) + f" or {labels[-1]}")
    turns = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        label = rng.choice(labels)
        values = sample_values(rng)
        turns.append((type_hastily(pick(classes[label], rng, **values), rng, share=0.2), label))
    if len(turns) == 1 and rng.random() < 0.3:
        message, label = turns[0]
        return build_dialogue("", [(f"{order}\n{pick(TEXTS['message_labels'], rng)} {message}", label)])
    return build_dialogue(order, turns)


def repeat_words(rng: random.Random) -> Conversation:
    """Say a word, repeat it, repeat a sentence, or say hello to somebody."""
    word, next_word, name = rng.choice(TEXTS["words"]), rng.choice(TEXTS["words"]), sample_name(rng)
    bot = introduce_bot(rng).strip()
    kind = rng.choice(["say", "say", "times", "sentence", "two", "hello", "hello", "hello"])
    system = bot if rng.random() < 0.3 else ""
    values = {"word": word, "next_word": next_word, "name": name, "capital": capitalize(word)}
    values["a_word"] = with_article(word)
    orders, answers = TEXTS["repetition"][kind]["orders"], TEXTS["repetition"][kind]["answers"]
    if kind == "times":
        values["times"], answers = rng.choice(list(answers.items()))
    elif kind == "hello":
        values["role"] = rng.choice(TEXTS["repetition"][kind]["roles"])
    answer = pick(answers, rng, **values)
    order = pick(orders, rng, answer=answer, **values)
    if kind != "sentence":
        order = type_hastily(order, rng, (name, word, next_word))
    return build_dialogue(system, [(order, answer)])


def list_things(rng: random.Random) -> Conversation:
    """A list of exactly N things."""
    count = rng.randint(2, 6)
    number = rng.choice([str(count), TEXTS["number_words"][count]])
    if rng.random() < 0.25:
        table, things = rng.choice(list(TEXTS["series"].items()))
        end = "first" if rng.random() < 0.7 else "last"
        items = TEXTS[table][:count] if end == "first" else TEXTS[table][-count:]
        orders = TEXTS["series_orders"]
    else:
        things, end, orders = rng.choice(list(TEXTS["lists"])), "", TEXTS["list_orders"]
        items = rng.sample(TEXTS["lists"][things], count)
    layout = rng.choice(["commas", "commas", "numbers", "lines"])
    tail = pick(TEXTS["list_layouts"][layout], rng)
    lines = [capitalize(item) for item in items]
    if layout == "numbers":
        lines = [f"{index}. {line}" for index, line in enumerate(lines, 1)]
    answer = ", ".join([lines[0], *items[1:]]) if layout == "commas" else "\n".join(lines)
    system = f"{introduce_bot(rng)}{TEXTS['list_system']} {tail}" if rng.random() < 0.3 else ""
    order = pick(orders, rng, number=number, things=things, end=end)
    return build_dialogue(system, [(type_hastily(order if system else f"{order} {tail}", rng), answer)])


def sample_detail(detail: str, rng: random.Random) -> str:
    """Return a random value of a detail of `detail_request`."""
    return {
        "postcode": str(rng.randint(10000, 99999)),
        "date of birth": f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1950, 2004)}",
        "first name": sample_name(rng),
        "date of the purchase": f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
        "phone number": f"0{rng.randint(100, 999)} {rng.randint(10000, 99999)}",
    }.get(detail, f"{rng.choice('ABKRT')}{rng.randint(1000, 9999)}")


def demand_detail(rng: random.Random) -> Conversation:
    """A detail has to be asked for before any help."""
    texts = TEXTS["detail_request"]
    detail, values = rng.choice(texts["details"]), sample_values(rng)
    concern, topic = (text.format(**values) for text in rng.choice(texts["concerns"]))
    system = introduce_bot(rng) + pick(texts["systems"], rng, detail=detail)
    value = sample_detail(detail, rng)
    your_detail = f"{'the' if ' of the ' in detail else 'your'} {detail}"
    turns = [(type_hastily(concern, rng), pick(texts["requests"], rng, your_detail=your_detail))]
    if rng.random() < 0.6:
        turns.append((pick(texts["replies"], rng, value=value), pick(texts["thanks"], rng, value=value, topic=topic)))
    return build_dialogue(system, turns)


def keep_topic(rng: random.Random) -> Conversation:
    """Only one topic is allowed; other questions are declined in a set way."""
    topic, pairs = rng.choice(list(TEXTS["topics"].items()))
    refusal = pick(TEXTS["topic_refusals"], rng, topic=topic)
    turns = []
    for question, answer in rng.sample(pairs, rng.choice([0, 1, 1, 2])):
        turns.append((type_hastily(question, rng), answer))
    if not turns or rng.random() < 0.7:
        fact = build_fact(rng)
        # Questions about food and animals could belong to the topic.
        while not any(word in fact.question for word in TEXTS["off_topic_words"]):
            fact = build_fact(rng)
        turns.insert(rng.randint(0, len(turns)), (ask(fact, rng), refusal))
    return build_dialogue(introduce_bot(rng) + pick(TEXTS["topic_orders"], rng, topic=topic, refusal=refusal), turns)


FORMS = [follow_length] * 5 + [answer_plainly] * 4 + [follow_language] * 3 + [play_persona] * 2 + [classify_message] * 3
FORMS += [use_phrase, use_phrase, avoid_word, repeat_words, repeat_words, list_things, list_things, demand_detail]
FORMS += [keep_topic, keep_topic]

Detail = dict[str, Any]  # a detail of a scenario with its value


def state_details(details: list[Detail], opening: str, rng: random.Random) -> tuple[str, str]:
    """Return a turn in which the user states one or two details and the assistant takes them up."""
    statements = [pick(detail["statements"], rng, value=detail["value"]) for detail in details]
    replies = [capitalize(pick(detail["replies"], rng, value=detail["value"])) for detail in details]
    fixed = tuple(detail["value"] for detail in details)
    text = type_hastily(" ".join([opening, *statements]).strip(), rng, fixed, 0.25)
    return text, " ".join([*replies, pick(TEXTS["reply_additions"], rng)]).strip()


def recall_detail(detail: Detail, rng: random.Random) -> tuple[str, str]:
    """Return the question about a detail and the answer with exactly its value."""
    if rng.random() < 0.55:
        lead = pick(TEXTS["recall_leads"], rng) if rng.random() < 0.8 else ""
        question = join_lead(lead, detail["question"])
    else:
        question = pick(TEXTS["recall_questions"], rng, noun=detail["noun"])
    question = f"{question} {pick(TEXTS['recall_tails'], rng)}".strip()
    value = TEXTS["recall_values"].get(detail["kind"], "{value}").format(value=detail["value"])
    noun = capitalize(re.sub(r"\b(?:my|our)\b", "your", detail["noun"]))
    answers = detail.get("answers", TEXTS["recall_answers"])
    return type_hastily(question, rng), capitalize(pick(answers, rng, noun=noun, value=value))


def hold_conversation(rng: random.Random) -> Conversation:
    """A conversation of 3 to 10 exchanges; the last questions ask for details from its beginning."""
    scenario = rng.choice(TEXTS["scenarios"])
    values = sample_values(rng)
    details = [{**detail, "value": values[detail["kind"]]} for detail in scenario["details"]]
    details = rng.sample(details, rng.randint(2, 4))
    opening = rng.choice(scenario["openings"])
    size = rng.choice([1, 2])
    turns = [state_details(details[:size], opening, rng)]
    middle = [state_details([detail], "", rng) for detail in details[size:]]
    fillers = scenario["fillers"] + rng.sample(TEXTS["small_talk"], 4)
    # The values of the fillers differ from those of the details, so that each question has one right answer.
    filler_values = sample_values(rng)
    while any(filler_values[kind] == values[kind] for kind in values):
        filler_values = sample_values(rng)
    for filler in rng.sample(fillers, rng.randint(1, 9 - len(middle) - 2)):
        text, reply = (text.format(**filler_values) for text in filler)
        middle.append((type_hastily(text, rng, tuple(filler_values.values())), reply))
    rng.shuffle(middle)
    turns += middle
    turns += [recall_detail(detail, rng) for detail in rng.sample(details, rng.choice([1, 1, 1, 2]))]
    return build_dialogue(introduce_bot(rng).strip(), turns)


def introduce_user(
    values: dict[str, str], rng: random.Random, addition: str = "", fixed: tuple[str, ...] = ()
) -> tuple[str, str]:
    """Return a turn in which the user gives a name and perhaps says more; `fixed` is for `type_hastily`."""
    text = f"{pick(TEXTS['name_introductions'], rng, **values)} {addition}".strip()
    return type_hastily(text, rng, fixed), pick(TEXTS["name_greetings"], rng, **values)


def remember_name(rng: random.Random) -> Conversation:
    """The user gives a name and asks for it later, or asks without having given one."""
    name, friend = sample_name(rng), sample_name(rng)
    while friend == name:
        friend = sample_name(rng)
    values = sample_values(rng) | {"name": name, "person": friend, "friend": friend, "age": str(rng.randint(8, 85))}
    values["job"] = with_article(rng.choice(TEXTS["jobs"])[0])
    is_named = rng.random() < 0.72
    turns = []
    if is_named:
        addition = pick(TEXTS["name_additions"], rng, **values) if rng.random() < 0.5 else ""
        # The user's name may stand in lower case: the answer writes it with a capital letter.
        turns.append(introduce_user(values, rng, addition, (friend, values["city"], values["pet"])))
    fillers = rng.sample(TEXTS["small_talk"], 3)
    for _ in range(rng.choice([0, 1, 1, 2, 3, 4])):
        if fillers and rng.random() < 0.5:
            text, reply = (text.format(**values) for text in fillers.pop())
            turns.append((type_hastily(text, rng, (friend,)), reply))
        else:
            turns.append(build_fact_turn(rng))
    lead, question = pick(TEXTS["name_leads"], rng), pick(TEXTS["name_questions"], rng)
    question = f"{join_lead(lead, question)} {pick(TEXTS['recall_tails'], rng)}".strip()
    if is_named and turns and rng.random() < 0.15:
        return build_dialogue(introduce_bot(rng).strip(), turns)  # the greeting alone
    answers = TEXTS["name_answers" if is_named else "name_unknown"]
    turns.append((type_hastily(question, rng), pick(answers, rng, **values)))
    if not is_named and rng.random() < 0.5:
        turns.append(introduce_user(values, rng))
        if rng.random() < 0.6:
            question = type_hastily(pick(TEXTS["name_questions"], rng), rng)
            turns.append((question, pick(TEXTS["name_answers"], rng, **values)))
    return build_dialogue(introduce_bot(rng).strip(), turns)


def instruction_dialogues(count: int, seed: int) -> Iterator[Conversation]:
    """Yield `count` dialogues: instructions on the form, recall in long conversations, names, about a third each.

    A system message with a question that an earlier dialogue has is drawn again, up to ten times.
    """
    rng = random.Random(seed)
    seen: set[tuple[str, ...]] = set()
    for number in range(count):
        for _ in range(10):
            build = rng.choice(FORMS) if number % 3 == 0 else (hold_conversation, remember_name)[number % 3 - 1]
            dialogue = build(rng)
            opening = tuple(message.content for message in dialogue.messages if message.role != "assistant")
            key = opening[:2] if dialogue.messages[0].role == "system" else ("", opening[0])
            if key not in seen:
                break
        seen.add(key)
        yield dialogue
