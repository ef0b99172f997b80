"""Generates dialogues about instructions on the form of an answer, recall in long conversations, and names of users.

All answers are computed from the tables of this module. Alternatives within a string are separated by " | ".
"""
# ruff: noqa: SIM905 - word tables are easier to read as one string than as a list of literals

import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from turnwise.core.messages import Conversation, Message, Role
from turnwise.data.typing_noise import misspell

Pairs = list[tuple[str, str]]

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
CAPITALS = dict(
    pair.split(":")
    for pair in (
        "France:Paris Italy:Rome Spain:Madrid Germany:Berlin Portugal:Lisbon Austria:Vienna Greece:Athens "
        "Ireland:Dublin "
        "Poland:Warsaw Hungary:Budapest Sweden:Stockholm Norway:Oslo Finland:Helsinki Denmark:Copenhagen "
        "Iceland:Reykjavik "
        "Belgium:Brussels Russia:Moscow Ukraine:Kyiv Turkey:Ankara Egypt:Cairo Kenya:Nairobi Japan:Tokyo China:Beijing "
        "Thailand:Bangkok Canada:Ottawa Australia:Canberra Peru:Lima Cuba:Havana Chile:Santiago Romania:Bucharest "
        "Bulgaria:Sofia Croatia:Zagreb Serbia:Belgrade Estonia:Tallinn Latvia:Riga Lithuania:Vilnius Morocco:Rabat "
        "Lebanon:Beirut Iraq:Baghdad Iran:Tehran Vietnam:Hanoi Cyprus:Nicosia Malta:Valletta Tunisia:Tunis "
        "Nepal:Kathmandu"
    ).split()
)
SOUNDS = {
    "cow": "moo", "dog": "woof", "cat": "meow", "sheep": "baa", "duck": "quack", "pig": "oink", "bee": "buzz",
    "snake": "hiss", "lion": "roar", "frog": "croak", "mouse": "squeak", "horse": "neigh", "owl": "hoot",
}  # fmt: skip
LEGS = {
    "dog": 4, "cat": 4, "horse": 4, "cow": 4, "spider": 8, "ant": 6, "bee": 6, "beetle": 6, "chicken": 2, "duck": 2,
    "sheep": 4, "fly": 6, "elephant": 4, "ostrich": 2, "goat": 4, "snake": 0, "lion": 4,
}  # fmt: skip
OPPOSITES = dict(
    pair.split(":")
    for pair in (
        "hot:cold big:small fast:slow up:down left:right open:closed full:empty early:late young:old wet:dry hard:soft "
        "day:night light:dark happy:sad loud:quiet long:short high:low strong:weak rich:poor clean:dirty thick:thin "
        "near:far inside:outside before:after first:last win:lose buy:sell push:pull always:never heavy:light "
        "true:false"
    ).split()
)
COLOURS = {
    "a ripe banana": "yellow", "fresh grass": "green", "fresh snow": "white", "a ripe tomato": "red", "coal": "black",
    "the clear daytime sky": "blue", "a carrot": "orange", "milk": "white", "a ripe lemon": "yellow", "blood": "red",
    "a flamingo": "pink", "chocolate": "brown", "a fire engine in most towns": "red", "spinach": "green",
    "a polar bear's fur": "white", "a raven": "black", "an egg yolk": "yellow",
}  # fmt: skip
YOUNG = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "sheep": "lamb", "horse": "foal", "duck": "duckling",
    "goose": "gosling",
    "frog": "tadpole", "lion": "cub", "goat": "kid", "swan": "cygnet", "kangaroo": "joey", "deer": "fawn",
}  # fmt: skip
QUANTITIES = """
days|in a week|7;hours|in a day|24;minutes|in an hour|60;seconds|in a minute|60;months|in a year|12
days|in a leap year|366;centimetres|in a metre|100;metres|in a kilometre|1000;grams|in a kilogram|1000
sides|in a triangle|3;corners|in a square|4;letters|in the English alphabet|26;items|in a dozen|12
years|in a century|100;years|in a decade|10;cents|in a euro|100;sides|in a hexagon|6;strings|on a violin|4
wheels|on a tricycle|3;days|in April|30;days|in July|31;players|in a football team on the pitch|11
continents|on Earth|7;planets|in our solar system|8;faces|on a cube|6;millimetres|in a centimetre|10;minutes|in half \
an hour|30
squares|on a chessboard|64;wheels|on an ordinary car|4;arms|on an octopus|8;keys|on a standard piano|88;sides|in a \
pentagon|5
"""
FACTS = """
What do bees make?|honey|Bees make honey.
What is frozen water called?|ice|Frozen water is called ice.
Which planet do we live on?|Earth|We live on the planet Earth.
What do we breathe in to live?|oxygen|We breathe in oxygen to live.
Which is the largest planet in our solar system?|Jupiter|The largest planet in our solar system is Jupiter.
Which planet is closest to the Sun?|Mercury|Mercury is the planet closest to the Sun.
Which metal is liquid at room temperature?|mercury|Mercury is the metal that is liquid at room temperature.
What is the largest ocean on Earth?|Pacific|The Pacific is the largest ocean on Earth.
Which animal is the tallest?|giraffe|The giraffe is the tallest animal.
Which land animal is the fastest?|cheetah|The cheetah is the fastest land animal.
What is the largest animal on Earth?|whale|The blue whale is the largest animal on Earth.
Which organ pumps blood through the body?|heart|The heart pumps blood through the body.
Which organ do we think with?|brain|We think with the brain.
What is cheese made from?|milk|Cheese is made from milk.
What is bread mainly made from?|flour|Bread is mainly made from flour.
What is wine made from?|grapes|Wine is made from grapes.
What is paper usually made from?|wood|Paper is usually made from wood.
Which season comes after winter?|spring|Spring comes after winter.
Which season comes after summer?|autumn|Autumn comes after summer.
Which month is the shortest?|February|February is the shortest month.
In which direction does the sun rise?|east|The sun rises in the east.
In which direction does the sun set?|west|The sun sets in the west.
Which gas do plants take in?|carbon dioxide|Plants take in carbon dioxide.
What do caterpillars turn into?|butterflies|Caterpillars turn into butterflies or moths.
What force pulls things to the ground?|gravity|Gravity pulls things to the ground.
Which language do people in Brazil speak?|Portuguese|People in Brazil speak Portuguese.
Which language do people in Austria speak?|German|People in Austria speak German.
Which language do people in Mexico mostly speak?|Spanish|People in Mexico mostly speak Spanish.
Which currency does Japan use?|yen|Japan uses the yen.
Which currency does Italy use?|euro|Italy uses the euro.
Who wrote Romeo and Juliet?|Shakespeare|William Shakespeare wrote Romeo and Juliet.
Which continent is Egypt in?|Africa|Egypt is in Africa.
Which continent is Japan in?|Asia|Japan is in Asia.
Which continent is Spain in?|Europe|Spain is in Europe.
What is the star at the centre of our solar system?|Sun|The Sun is the star at the centre of our solar system.
What goes around the Earth and shines at night?|Moon|The Moon goes around the Earth and shines at night.
Which tool do you use to drive in a nail?|hammer|You use a hammer to drive in a nail.
Which meal do people eat in the morning?|breakfast|People eat breakfast in the morning.
What do you use to tell the time on your wrist?|watch|You use a watch to tell the time.
Which bird cannot fly and lives in Antarctica?|penguin|The penguin cannot fly and lives in Antarctica.
Which vitamin does sunlight help the skin make?|vitamin D|Sunlight helps the skin make vitamin D.
What colour do blue and yellow paint make?|green|Blue and yellow paint make green.
What colour do red and white paint make?|pink|Red and white paint make pink.
What colour do red and yellow paint make?|orange|Red and yellow paint make orange.
"""
YES_NO = """
Do fish live in water?|yes|Yes, fish live in water.
Can penguins fly?|no|No, penguins cannot fly.
Is ice warmer than steam?|no|No, ice is colder than steam.
Is the Earth round?|yes|Yes, the Earth is round like a ball.
Do cats lay eggs?|no|No, cats do not lay eggs.
Is a whale a mammal?|yes|Yes, a whale is a mammal.
Is a tomato a fruit?|yes|Yes, botanically a tomato is a fruit.
Is a spider an insect?|no|No, a spider is not an insect.
Does water boil at 100 degrees Celsius at sea level?|yes|Yes, water boils at 100 degrees Celsius at sea level.
Is the Moon bigger than the Earth?|no|No, the Moon is smaller than the Earth.
Do trees have roots?|yes|Yes, trees have roots.
Is gold a metal?|yes|Yes, gold is a metal.
Can a dog read a newspaper?|no|No, a dog cannot read.
Does wood float on water in most cases?|yes|Yes, most wood floats on water.
Is Africa a continent?|yes|Yes, Africa is a continent.
Is a bat a bird?|no|No, a bat is a mammal.
Do cows eat grass?|yes|Yes, cows eat grass.
Is the sun cold?|no|No, the sun is very hot.
"""
PEOPLE = (
    "Anna Ben Clara David Emma Felix Grace Hugo Ines Jonas Karin Leo Maria Nils Olga Paul Rosa Simon Tina Uwe Vera "
    "Walter "
    "Yusuf Zoe Amir Bianca Carlos Dilara Erik Fatima Greta Hassan Irene Jamal Katya Luca Mei Noah Priya Quentin Rahul "
    "Sofia Tomas Ursula Victor Wanda Yara Aisha Boris Chiara Dario Elif Freya Gustav Helena Ivan Julia Kofi Lena Marek"
).split()
CITIES = "Bergen Graz Porto Leeds Lyon Ghent Turin Malmo Cork Bilbao Krakow Basel Utrecht Aarhus Dresden Verona".split()
PETS = "Biscuit Momo Pepper Luna Rusty Pickle Nala Bruno Waffles Smoky Toffee Socks Ziggy Hazel Button Cleo".split()
PLAIN_COLOURS = "red blue green yellow white black grey purple orange brown pink turquoise".split()
STREETS = "Mill Lane;Church Street;Park Road;Station Road;Garden Lane;Bridge Street;Hill Road;Rose Street".split(";")
FOODS = "nuts eggs milk shellfish soy sesame celery wheat mustard strawberries".split()
DIRECTIONS = "north south east west".split()
ITEMS = "lamp kettle backpack jacket desk chair headset toaster bicycle helmet rug printer tent keyboard mirror".split()

INVENTED = ("Ka Lo Mi Ta Zu Ve Ri So Na Bel Dor Fen Jo Or El".split(), "ra li mo ne vi sha do ku len bri".split(),
            "n s ra lo na th mir ta x no".split())  # fmt: skip


def pick(text: str, rng: random.Random) -> str:
    """Return one of the alternatives of `text`."""
    return rng.choice(text.split(" | "))


def capitalize(text: str) -> str:
    """Return `text` with an upper-case first letter and the rest unchanged."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """Return the noun with "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def sample_name(rng: random.Random) -> str:
    """Return a first name: a common one, or in one case of three an invented one."""
    return rng.choice(PEOPLE) if rng.random() < 0.67 else "".join(rng.choice(part) for part in INVENTED)


def type_hastily(text: str, rng: random.Random, fixed: tuple[str, ...] = (), share: float = 0.3) -> str:
    """Return `text`, in this share of cases in hurried spelling; the strings in `fixed` stay unchanged."""
    if rng.random() >= share:
        return text
    lower, unmarked, typo = rng.random() < 0.7, rng.random() < 0.6, rng.random() < 0.35
    pieces = re.split(f"({'|'.join(re.escape(value) for value in fixed)})", text) if fixed else [text]
    if lower:
        pieces = [piece if piece in fixed else piece.lower() for piece in pieces]
    # A typo in a capitalised word, or in a quoted one, would change what the question is about.
    words = [
        (index, match)
        for index, piece in enumerate(pieces)
        if piece not in fixed
        for match in re.finditer(
            r"\b(?:what|which|please|could|tell|answer|said|remember|again|there|with|have)\b", piece
        )
        if len(match.group()) > 3
    ]
    if typo and words:
        index, match = rng.choice(words)
        pieces[index] = pieces[index][: match.start()] + misspell(match.group(), rng) + pieces[index][match.end() :]
    result = "".join(pieces)
    return result.rstrip(".!?") if unmarked else result


def build_dialogue(system: str, turns: Pairs) -> Conversation:
    """Return the conversation of a system message (if any) and pairs of user and assistant text."""
    messages = [Message("system", system)] if system else []
    roles: tuple[Role, Role] = ("user", "assistant")
    # "orange" is the only colour or thing of the tables that begins with a vowel.
    for turn in turns:
        texts = (re.sub(r"\b([Aa]) (?=orange\b)", r"\1n ", text) for text in turn)
        messages += [Message(role, text) for role, text in zip(roles, texts, strict=True)]
    return Conversation(tuple(messages), {"source": "instruction_dialogues"})


# --- General knowledge ---------------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """A question with the shortest answer and the answer as a full sentence."""

    question: str
    short: str
    sentence: str


def build_word_fact(rng: random.Random) -> Fact:
    """Return a question with an answer of one word (or two)."""
    kind = rng.choice(
        "capital country sound opposite colour young next before month month_before fact fact fact".split()
    )
    if kind in ("capital", "country"):
        country, city = rng.choice(list(CAPITALS.items()))
        if kind == "country":
            question = f"Which country has {city} as its capital? | {city} is the capital of which country?"
            return Fact(pick(question, rng), country, f"{city} is the capital of {country}.")
        question = (
            f"What is the capital of {country}? | Which city is the capital of {country}? | "
            f"Name the capital of {country}. | "
            f"What's the capital city of {country}? | Do you know the capital of {country}?"
        )
        return Fact(
            pick(question, rng), city, pick(f"The capital of {country} is {city}. | {city} is the capital.", rng)
        )
    if kind == "sound":
        animal, sound = rng.choice(list(SOUNDS.items()))
        question = (
            f"What sound does a {animal} make? | What does a {animal} say? | Which sound do you hear from a {animal}?"
        )
        return Fact(
            pick(question.replace("a owl", "an owl"), rng), sound, f"{capitalize(with_article(animal))} says {sound}."
        )
    if kind == "opposite":
        word, other = rng.choice(list(OPPOSITES.items()))
        if word != "light" and other != "light" and rng.random() < 0.5:
            word, other = other, word
        question = (
            f'What is the opposite of "{word}"? | What is the opposite of {word}? | '
            f"Which word means the opposite of {word}?"
        )
        return Fact(pick(question, rng), other, f'The opposite of "{word}" is "{other}".')
    if kind == "colour":
        thing, colour = rng.choice(list(COLOURS.items()))
        question = f"What colour is {thing}? | Which colour does {thing} have? | What is the usual colour of {thing}?"
        return Fact(pick(question, rng), colour, f"{capitalize(thing)} is {colour}.")
    if kind == "young":
        animal, young = rng.choice(list(YOUNG.items()))
        question = (
            f"What is a young {animal} called? | What do you call a baby {animal}? | "
            f"What is the word for a young {animal}?"
        )
        return Fact(pick(question, rng), young, f"A young {animal} is called a {young}.")
    if kind in ("next", "before", "month", "month_before"):
        series, unit = (MONTHS, "month") if kind.startswith("month") else (DAYS, "day")
        at, step = rng.randrange(len(series)), 1 if kind in ("next", "month") else -1
        answer = series[(at + step) % len(series)]
        side = "after" if step == 1 else "before"
        question = f"Which {unit} comes {side} {series[at]}? | What {unit} is right {side} {series[at]}?"
        day, verb = ("tomorrow", "is") if step == 1 else ("yesterday", "was")
        if unit == "day":
            question += f" | If today is {series[at]}, what day {verb} {day}?"
        text = pick(question, rng)
        if text.startswith("If"):
            return Fact(text, answer, pick(f"Then {day} {verb} {answer}. | {capitalize(day)} {verb} {answer}.", rng))
        return Fact(text, answer, f"{answer} comes right {side} {series[at]}.")
    question, short, sentence = rng.choice(FACTS.strip().split("\n")).split("|")
    return Fact(question, short, sentence)


def build_number_fact(rng: random.Random) -> Fact:
    """Return a question with a number as its answer."""
    kind = rng.choice(["quantity", "legs", "sum", "difference", "product", "month"])
    if kind == "quantity":
        thing, where, number = rng.choice(QUANTITIES.strip().replace("\n", ";").split(";")).split("|")
        question = f"How many {thing} are there {where}? | What is the number of {thing} {where}?"
        return Fact(pick(question, rng), number, f"There are {number} {thing} {where}.")
    if kind == "legs":
        animal, legs = rng.choice(list(LEGS.items()))
        name = with_article(animal)
        question = f"How many legs does {name} have? | On how many legs does {name} walk?" if legs else ""
        question = question or f"How many legs does {name} have? | What is the number of legs of {name}?"
        return Fact(pick(question, rng), str(legs), f"{capitalize(name)} has {legs or 'no'} legs.")
    if kind == "month":
        at = rng.randrange(12)
        question = f"Which number does {MONTHS[at]} have in the year? | {MONTHS[at]} is month number what?"
        return Fact(pick(question, rng), str(at + 1), f"{MONTHS[at]} is month number {at + 1} of the year.")
    first, second = rng.randint(2, 12), rng.randint(2, 12)
    if kind == "product":
        question = f"What is {first} times {second}? | How much is {first} times {second}? | {first} x {second} = ?"
        return Fact(pick(question, rng), str(first * second), f"{first} times {second} is {first * second}.")
    first, second = rng.randint(10, 50), rng.randint(2, 30)
    if kind == "sum":
        question = f"What is {first} plus {second}? | How much is {first} + {second}? | Add {first} and {second}."
        question += f" | I have {first} apples and get {second} more. How many do I have?"
        text = pick(question, rng)
        sentence = f"{first} plus {second} is {first + second}."
        return Fact(text, str(first + second), f"You have {first + second} apples." if "apples" in text else sentence)
    first += second
    question = f"What is {first} minus {second}? | How much is {first} - {second}? | Subtract {second} from {first}."
    question += f" | There were {first} chairs and {second} were taken away. How many are left?"
    text = pick(question, rng)
    sentence = f"{first} minus {second} is {first - second}."
    return Fact(text, str(first - second), f"There are {first - second} chairs left." if "chairs" in text else sentence)


def build_yes_no_fact(rng: random.Random) -> Fact:
    """Return a question that is answered with yes or no."""
    kind = rng.choice(["capital", "greater", "legs", "sum", "day", "table", "table"])
    is_true = rng.random() < 0.5
    if kind == "capital":
        country, city = rng.choice(list(CAPITALS.items()))
        shown = city if is_true else rng.choice([c for c in CAPITALS.values() if c != city])
        sentence = f"{'Yes' if is_true else 'No'}, the capital of {country} is {city}."
        return Fact(f"Is {shown} the capital of {country}?", "yes" if is_true else "no", sentence)
    if kind == "greater":
        first, second = rng.sample(range(2, 99), 2)
        high, low = max(first, second), min(first, second)
        sentence = f"{'Yes' if first > second else 'No'}, {high} is greater than {low}."
        return Fact(f"Is {first} greater than {second}?", "yes" if first > second else "no", sentence)
    if kind == "legs":
        animal, legs = rng.choice(list(LEGS.items()))
        legs_shown = legs if is_true and legs else (4 if legs != 4 else 6)
        answer = "yes" if legs_shown == legs else "no"
        sentence = f"{answer.capitalize()}, {with_article(animal)} has {legs or 'no'} legs."
        return Fact(f"Does {with_article(animal)} have {legs_shown} legs?", answer, sentence)
    if kind == "sum":
        first, second = rng.randint(2, 20), rng.randint(2, 20)
        sum_shown = first + second + (0 if is_true else rng.choice([-2, -1, 1, 2]))
        sentence = f"{'Yes' if is_true else 'No'}, {first} plus {second} is {first + second}."
        return Fact(f"Is {first} plus {second} equal to {sum_shown}?", "yes" if is_true else "no", sentence)
    if kind == "day":
        at = rng.randrange(7)
        day_shown = (at + 1) % 7 if is_true else (at + rng.randint(2, 6)) % 7
        sentence = f"{'Yes' if is_true else 'No'}, {DAYS[(at + 1) % 7]} comes right after {DAYS[at]}."
        return Fact(f"Does {DAYS[day_shown]} come right after {DAYS[at]}?", "yes" if is_true else "no", sentence)
    question, short, sentence = rng.choice(YES_NO.strip().split("\n")).split("|")
    return Fact(question, short, sentence)


def build_fact(rng: random.Random) -> Fact:
    """Return a question of any kind."""
    return rng.choice([build_word_fact, build_word_fact, build_number_fact, build_yes_no_fact])(rng)


LEADS = (
    " |  |  | Quick question: | Hi! | Hello, | One question: | Tell me: | My son wants to know: | "
    "For a quiz: | Hey, | So, "
)


def ask(fact: Fact, rng: random.Random) -> str:
    """Return the question, sometimes with words before it and in hurried spelling."""
    return type_hastily(join_lead(pick(LEADS, rng).strip(), fact.question), rng)


def join_lead(lead: str, question: str) -> str:
    """Return the question after the words of `lead`; after a comma it goes on in lower case, except for names."""
    if lead.endswith((",", "And")) and re.match(
        r"(What|Which|How|Is|Do|Does|Can|Name|On|In|Add|Subtract|If|Who|Where|When|Did|Tell|So|There|Are|From|By)\b",
        question,
    ):
        question = question[0].lower() + question[1:]
    return f"{lead} {question}".strip()


# --- Instructions on the form ----------------------------------------------------------------------------------------

BOTS = "Pia Otto Robin Milo Nova Juno Max Kira Theo Alma Finn Stella Mirko Dora Basil Lotte Sven Irma".split()
TONES = "a friendly assistant;a helpful assistant;a polite helper;an assistant for everyday questions".split(";")


def introduce_bot(rng: random.Random) -> str:
    """Return the first sentence of a system message, or nothing."""
    start = f"You are {rng.choice(BOTS)}, {rng.choice(TONES)}. | You are {rng.choice(TONES)}. "
    return "" if rng.random() < 0.4 else pick(start, rng).strip() + " "


def instruct(wordings: str, question: str, rng: random.Random) -> tuple[str, str]:
    """Return the system message and user message: the instruction stands in the one or in the other."""
    order = pick(wordings, rng)
    if rng.random() < 0.6:
        return introduce_bot(rng) + order, question
    order = type_hastily(order, rng)
    return "", f"{question} {order}" if rng.random() < 0.6 else f"{order.rstrip('.')}: {question}"


ONE_WORD = (
    "Answer with one word. | Reply with a single word. | One word only, please. | "
    "Use exactly one word for your answer. | "
    "Give one-word answers. | Just one word, no sentence. | Respond in one word only."
)
YES_NO_ONLY = (
    "Answer only yes or no. | Reply with yes or no, nothing else. | Just yes or no, please. | Say yes or no only. | "
    "Your answer must be yes or no. | Respond with either yes or no."
)
DIGITS_ONLY = (
    "Answer only with a number in digits. | Reply with the number only. | Just the number, please. | "
    "Write only digits. | "
    "Give the result as a number, no words. | Use digits only in your answer."
)
ONE_SENTENCE = (
    "Answer in one sentence. | Reply with one full sentence. | One sentence, please. | "
    "Use a single complete sentence. | "
    "Keep it to one sentence. | Always answer in a full sentence."
)


def follow_length(rng: random.Random) -> Conversation:
    """Instruction on the length or the kind of answer: one word, yes or no, digits, one sentence, at most N words."""
    kind = rng.choice(["word", "yes_no", "digits", "sentence", "limit"])
    limit = rng.randint(1, 9)
    wordings = (
        {
            "word": ONE_WORD,
            "yes_no": YES_NO_ONLY,
            "digits": DIGITS_ONLY,
            "sentence": ONE_SENTENCE,
            "limit": f"Use at most {limit} words. | Answer in no more than {limit} words. | "
            f"Maximum {limit} words, please. | "
            f"Keep every answer under {limit + 1} words.",
        }[kind]
        .replace("at most 1 words", "at most 1 word")
        .replace("than 1 words", "than 1 word")
        .replace("m 1 words", "m 1 word")
    )
    builders: dict[str, Callable[[random.Random], Fact]] = {
        "word": build_word_fact,
        "yes_no": build_yes_no_fact,
        "digits": build_number_fact,
    }
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
            system, question = instruct(wordings, question, rng)
        elif not system:
            break  # an instruction of the user holds for that message only
        turns.append((question, answer))
    return build_dialogue(system, turns)


def answer_plainly(rng: random.Random) -> Conversation:
    """Questions without an instruction, answered with a short sentence."""
    turns = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        fact = build_fact(rng)
        turns.append((ask(fact, rng), fact.sentence))
    return build_dialogue(introduce_bot(rng).strip() if rng.random() < 0.4 else "", turns)


LANGUAGES = ("German", "French", "Spanish", "Italian")
# Message of the user | answer in German | French | Spanish | Italian
PHRASES = """
Hello!/Hi there!/Hey!|Hallo! Wie kann ich helfen?|Bonjour ! Comment puis-je vous aider ?|¡Hola! ¿En qué puedo \
ayudar?|Ciao! Come posso aiutare?
Good morning!/Morning!|Guten Morgen!|Bonjour !|¡Buenos días!|Buongiorno!
Good evening!/Evening!|Guten Abend!|Bonsoir !|¡Buenas tardes!|Buonasera!
Good night!/I'm going to bed now.|Gute Nacht!|Bonne nuit !|¡Buenas noches!|Buonanotte!
Thank you!/Thanks a lot!/Thanks for your help.|Gern geschehen!|Avec plaisir !|¡De nada!|Prego!
Goodbye!/Bye!/See you!|Auf Wiedersehen!|Au revoir !|¡Adiós!|Arrivederci!
How are you?/How are you doing today?|Mir geht es gut, danke!|Je vais bien, merci !|¡Estoy bien, gracias!|Sto bene, \
grazie!
Have a nice weekend!/Nice weekend to you!|Danke, ein schönes Wochenende!|Merci, bon week-end !|¡Gracias, buen fin de \
semana!|Grazie, buon fine settimana!
Sorry, I am late./Sorry for being late.|Kein Problem!|Pas de problème !|¡No hay problema!|Nessun problema!
Today is my birthday!/It's my birthday today.|Alles Gute zum Geburtstag!|Joyeux anniversaire !|¡Feliz cumpleaños!|Buon \
compleanno!
Is the shop open on Sunday? (It is closed.)/Say that the shop is closed, please. Is it open on Sunday?|Nein, am \
Sonntag ist geschlossen.|Non, c'est fermé le dimanche.|No, el domingo está cerrado.|No, la domenica è chiuso.
Can you help me?/I need help.|Ja, gern!|Oui, avec plaisir !|¡Sí, con mucho gusto!|Sì, volentieri!
What colour is snow?/Which colour does snow have?|Schnee ist weiß.|La neige est blanche.|La nieve es blanca.|La neve è \
bianca.
What colour is grass?/Which colour does grass have?|Gras ist grün.|L'herbe est verte.|La hierba es verde.|L'erba è \
verde.
What colour is the sky?/Which colour is the sky on a clear day?|Der Himmel ist blau.|Le ciel est bleu.|El cielo es \
azul.|Il cielo è blu.
What colour is a tomato?/Which colour does a ripe tomato have?|Die Tomate ist rot.|La tomate est rouge.|El tomate es \
rojo.|Il pomodoro è rosso.
What colour is a lemon?/Which colour does a lemon have?|Die Zitrone ist gelb.|Le citron est jaune.|El limón es \
amarillo.|Il limone è giallo.
How many days are in a week?/How many days does a week have?|Eine Woche hat sieben Tage.|Une semaine a sept jours.|Una \
semana tiene siete días.|Una settimana ha sette giorni.
How many months are in a year?/How many months does a year have?|Ein Jahr hat zwölf Monate.|Une année a douze mois.|Un \
año tiene doce meses.|Un anno ha dodici mesi.
How many legs does a cat have?/Tell me how many legs cats have.|Eine Katze hat vier Beine.|Un chat a quatre pattes.|Un \
gato tiene cuatro patas.|Un gatto ha quattro zampe.
What is the capital of France?/Which city is the capital of France?|Die Hauptstadt von Frankreich ist Paris.|La \
capitale de la France est Paris.|La capital de Francia es París.|La capitale della Francia è Parigi.
What is the capital of Italy?/Which city is the capital of Italy?|Die Hauptstadt von Italien ist Rom.|La capitale de \
l'Italie est Rome.|La capital de Italia es Roma.|La capitale dell'Italia è Roma.
What is the capital of Spain?/Which city is the capital of Spain?|Die Hauptstadt von Spanien ist Madrid.|La capitale \
de l'Espagne est Madrid.|La capital de España es Madrid.|La capitale della Spagna è Madrid.
What is the capital of Germany?/Which city is the capital of Germany?|Die Hauptstadt von Deutschland ist Berlin.|La \
capitale de l'Allemagne est Berlin.|La capital de Alemania es Berlín.|La capitale della Germania è Berlino.
What do bees make?/Which food do bees make?|Bienen machen Honig.|Les abeilles font du miel.|Las abejas hacen miel.|Le \
api fanno il miele.
Is water wet?/Tell me: is water wet?|Ja, Wasser ist nass.|Oui, l'eau est mouillée.|Sí, el agua moja.|Sì, l'acqua è \
bagnata.
Is fire hot?/Would you say that fire is hot?|Ja, Feuer ist heiß.|Oui, le feu est chaud.|Sí, el fuego está \
caliente.|Sì, il fuoco è caldo.
What is cheese made from?/What do people make cheese from?|Käse wird aus Milch gemacht.|Le fromage est fait avec du \
lait.|El queso se hace con leche.|Il formaggio si fa con il latte.
Which language do you speak?/Tell me which language you speak.|Ich spreche Deutsch.|Je parle français.|Hablo \
español.|Parlo italiano.
Nice to meet you!/Pleased to meet you.|Freut mich auch!|Enchanté !|¡Mucho gusto!|Piacere!
I am hungry./I'm so hungry.|Dann guten Appetit!|Alors, bon appétit !|¡Entonces, buen provecho!|Allora, buon appetito!
I have a job interview tomorrow./Tomorrow is my exam.|Viel Glück!|Bonne chance !|¡Mucha suerte!|Buona fortuna!
I leave for my trip today./My holiday trip starts today.|Gute Reise!|Bon voyage !|¡Buen viaje!|Buon viaggio!
I am ill today./I have a cold.|Gute Besserung!|Bon rétablissement !|¡Que te mejores!|Buona guarigione!
"""
DAY_WORDS = {
    "German": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split(),
    "French": "lundi mardi mercredi jeudi vendredi samedi dimanche".split(),
    "Spanish": "lunes martes miércoles jueves viernes sábado domingo".split(),
    "Italian": "lunedì martedì mercoledì giovedì venerdì sabato domenica".split(),
}
NUMBER_WORDS = {
    "German": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split(),
    "French": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze".split(),
    "Spanish": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce".split(),
    "Italian": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici".split(),
}
COLOUR_WORDS = {
    "German": "rot blau grün gelb weiß schwarz braun grau".split(),
    "French": "rouge bleu vert jaune blanc noir marron gris".split(),
    "Spanish": "rojo azul verde amarillo blanco negro marrón gris".split(),
    "Italian": "rosso blu verde giallo bianco nero marrone grigio".split(),
}
TWIN_COLOURS = "red blue green yellow white black brown grey".split()
DAY_FRAMES = {
    "German": "Nach {} kommt {}.",
    "French": "Après {} vient {}.",
    "Spanish": "Después del {} viene el {}.",
    "Italian": "Dopo {} viene {}.",
}
SUM_FRAMES = {
    "German": "{} plus {} ist {}.",
    "French": "{} plus {} font {}.",
    "Spanish": "{} más {} son {}.",
    "Italian": "{} più {} fa {}.",
}


def build_foreign_turn(language: str, rng: random.Random) -> tuple[str, str]:
    """Return a message in English and the answer in `language`."""
    kind = rng.choice(["phrase", "phrase", "phrase", "day", "sum"])
    if kind == "phrase":
        row = rng.choice(PHRASES.strip().split("\n")).split("|")
        return rng.choice(row[0].split("/")), row[1 + LANGUAGES.index(language)]
    if kind == "day":
        at = rng.randrange(7)
        words = DAY_WORDS[language]
        question = f"Which day comes after {DAYS[at]}? | What day follows {DAYS[at]}?"
        return pick(question, rng), DAY_FRAMES[language].format(words[at], words[(at + 1) % 7])
    first = rng.randint(1, 10)
    second = rng.randint(1, 12 - first)
    words = NUMBER_WORDS[language]
    question = f"What is {first} plus {second}? | How much is {first} + {second}?"
    return pick(question, rng), capitalize(
        SUM_FRAMES[language].format(words[first], words[second], words[first + second])
    )


def follow_language(rng: random.Random) -> Conversation:
    """Answers in another language, and translations of single words."""
    language = rng.choice(LANGUAGES)
    if rng.random() < 0.25:
        tables = [(TWIN_COLOURS, COLOUR_WORDS), (DAYS, DAY_WORDS)]
        english, foreign = rng.choice(tables)
        at = rng.randrange(len(english))
        word, answer = english[at], foreign[language][at]
        question = (
            f'What is "{word}" in {language}? | How do you say {word} in {language}? | '
            f'Translate "{word}" into {language}.'
        )
        question += f" | What's the {language} word for {word}?"
        reply = f'"{capitalize(word)}" is "{answer}" in {language}. | The {language} word for "{word}" is "{answer}".'
        question = pick(LEADS, rng).strip() + " " + pick(question, rng)
        return build_dialogue("", [(type_hastily(question.strip(), rng), pick(reply, rng))])
    question, answer = build_foreign_turn(language, rng)
    order = (
        f"Always answer in {language}. | Reply only in {language}. | You speak only {language}. | "
        f"Answer in {language}, please. | "
        f"Whatever the language of the question, answer in {language}. | All your answers are in {language}."
    )
    system = introduce_bot(rng) + pick(order, rng)
    turns = [(type_hastily(question, rng), answer)]
    if rng.random() < 0.2:
        order = f"Please answer in {language}: | In {language}, please: | Reply in {language}:"
        return build_dialogue("", [(f"{pick(order, rng)} {question}", answer)])
    for _ in range(rng.choice([0, 0, 1, 2])):
        question, answer = build_foreign_turn(language, rng)
        turns.append((type_hastily(question, rng), answer))
    return build_dialogue(system, turns)


JOBS = """
baker|bake bread and rolls|bakery;librarian|help people find books|library;gardener|look after the plants|botanical \
garden
mechanic|repair cars|garage;florist|arrange flowers|flower shop;waiter|bring guests their food|restaurant
ticket clerk|sell train tickets|railway station;tour guide|show visitors around|old castle;lifeguard|watch over the \
swimmers|pool
beekeeper|look after bees and make honey|farm;barber|cut hair|barber shop;optician|help people choose \
glasses|optician's shop
receptionist|welcome the guests|hotel;shoemaker|repair shoes|workshop;ferry captain|take people across the river|ferry \
pier
museum guard|look after the paintings|museum;ski teacher|teach people to ski|ski school;vet's assistant|help sick \
animals|clinic
"""


def play_persona(rng: random.Random) -> Conversation:
    """A role with a name, a job and a place; the answers stay in it."""
    job, task, place = rng.choice(JOBS.strip().replace("\n", ";").split(";")).split("|")
    name, city = rng.choice(BOTS + PEOPLE), rng.choice(CITIES)
    role, spot = with_article(job), f"{with_article(place)} in {city}"
    system = (
        f"You are {name}, {role} at {spot}. | Your name is {name}. You are {role} and work at {spot}. | "
        f"Play {name}, {role} who works at {spot}. Stay in this role. | You are {name}. You work as {role} at {spot}."
    )
    system = pick(system, rng) + pick(" | Keep answers short. | Be friendly. | Never leave the role.", rng).rstrip()
    system = re.sub(r"\.(?=[A-Z])", ". ", system)
    menu = [
        ("Who are you? | Who am I talking to? | What is your name? | What's your name, please?",
         f"I'm {name}, {role} at {spot}. | My name is {name}, and I work at {spot}."),
        ("What do you do? | What is your job? | What do you do for a living? | What's your work?",
         f"I'm {role}. I {task}. | I work as {role}, so I {task}. | I {task}. I'm {role}."),
        ("Where do you work? | Where can I find you? | In which place do you work?",
         f"I work at {spot}. | At {spot}. | You can find me at {spot}."),
        ("Which city are you in? | What city do you work in?", f"I'm in {city}. | I work in {city}."),
        ("Are you a pilot? | Are you an astronaut? | Do you fly planes?",
         f"No, I'm {role}. | No, I work as {role} at {spot}."),
        ("Do you like your work? | Is your job fun? | Are you happy in your job?",
         f"Yes, I like being {role} here in {city}. | Yes! I enjoy it: I {task}."),
    ]  # fmt: skip
    questions = rng.sample(menu, rng.choice([1, 2, 2, 3]))
    greeting = pick(" | Hi! | Hello! | Good morning. | Good day. | Hey there,", rng).strip()
    turns = []
    for at, (question, answer) in enumerate(questions):
        text = join_lead(greeting if at == 0 else "", pick(question, rng))
        turns.append((type_hastily(text, rng), pick(answer, rng)))
    return build_dialogue(system, turns)


OPENINGS = (
    "Ahoy!;Well, well!;Good question!;Dear friend!;Hear, hear!;Greetings!;Of course!;Happy to help!;Beep!;"
    "Hello from the team!"
)
CLOSINGS = (
    "Have a nice day!;Over and out.;At your service!;Take care!;Yours, the team.;See you soon!;Stay curious!;"
    "Ask me more!;"
    "Best wishes!;That is all."
)


def use_phrase(rng: random.Random) -> Conversation:
    """Every answer begins or ends with a fixed phrase."""
    at_start = rng.random() < 0.5
    phrase = rng.choice((OPENINGS if at_start else CLOSINGS).split(";"))
    verb = "Begin | Start" if at_start else "End | Finish | Close"
    order = f'{pick(verb, rng)} every answer with "{phrase}" | {pick(verb, rng)} each reply with the words "{phrase}"'
    turns = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        fact = build_fact(rng)
        turns.append((ask(fact, rng), f"{phrase} {fact.sentence}" if at_start else f"{fact.sentence} {phrase}"))
    return build_dialogue(introduce_bot(rng) + pick(order, rng), turns)


# Forbidden word | question | answer without it
AVOIDED = """
blue|What colour is the clear sky?|It is azure.;no|Can penguins fly?|Penguins cannot fly, but they swim very well.
yes|Do fish live in water?|They do, in rivers, lakes and seas.;sorry|My parcel is late.|That is annoying. I'll help \
you with it.
honey|What do bees make?|They make a sweet, golden food.;milk|What do cows give us?|They give us a white drink for \
cheese and butter.
hello|Hi there!|Good day! How can I help you?;unfortunately|Is the shop open at midnight?|The shop is closed at \
midnight.
dog|Which animal barks?|A pet that is often called man's best friend.;problem|My lamp is broken.|That is a pity. Let's \
find a solution.
water|What do fish swim in?|They swim in rivers, lakes and the sea.;green|What colour is grass?|It has the colour of \
fresh leaves.
cold|What is it like to touch ice?|It feels freezing and wet.;big|How large is an elephant?|It is huge, larger than \
any other land animal.
rain|Why do I need an umbrella?|It keeps you dry when drops fall from the clouds.;happy|I won a \
prize!|Congratulations! That is wonderful news.
thanks|You are very kind.|How nice of you to say so!;goodbye|I have to go now.|See you soon, and take care!
bread|What does a baker make?|A baker makes loaves, rolls and cakes.;sun|What shines during the day?|Our nearest star \
shines during the day.
"""


def avoid_word(rng: random.Random) -> Conversation:
    """The answer must not contain a certain word."""
    word, question, answer = rng.choice(AVOIDED.strip().replace("\n", ";").split(";")).split("|")
    order = (
        f'Never use the word "{word}". | Do not say the word "{word}". | '
        f'The word "{word}" is not allowed in your answers. | '
        f'Answer without the word "{word}". | Avoid the word "{word}" in all replies.'
    )
    if rng.random() < 0.25:
        return build_dialogue("", [(f"{pick(order, rng)} {question}", answer)])
    return build_dialogue(introduce_bot(rng) + pick(order, rng), [(type_hastily(question, rng), answer)])


# A set of classes, then per class: name: messages. {…} are filled by sample_values.
CLASS_SETS = """
positive: I love the {item}, it works perfectly. / Great service from {person}! / Delivered in two days, I am \
delighted. / The {colour} {item} is beautiful. / Best {item} I ever had. / {person} was so kind and quick.
negative: The {item} broke after {count} days. / {person} was rude on the phone. / I waited {count} minutes for \
nothing. / The {item} is ugly and too expensive. / Never again, the {item} arrived in pieces. / A waste of {price} \
euros.
neutral: I received the {item} on {day}. / The {item} is {colour}. / The box holds {count} pieces. / The shop is on \
{street}. / The {item} costs {price} euros. / {person} works on {day}.
#
billing: I was charged {price} euros twice. / Where is the invoice for order {code}? / My card was debited the wrong \
amount. / Can I pay the {price} euros later? / The invoice {code} has the wrong total.
delivery: My {item} has not arrived yet. / When will parcel {code} get here? / The driver left my {item} in the rain. \
/ Can you deliver on {day} instead? / Please bring the parcel to {street}.
technical: The app crashes when I open it. / My {model} does not switch on. / The screen shows error {code}. / I \
cannot connect the {model} to the network. / The page stays white after I log in.
#
sports: Our team won with {count} goals. / {person} ran the marathon in {city}. / The tennis match was on {day}. / The \
swimmers train at {time}. / The striker scored twice in {city}.
food: {person} bakes bread on {day}. / I cooked soup for {count} people. / The pizza in {city} was great. / Add salt \
and pepper to the stew. / The restaurant on {street} serves pasta.
weather: It will rain in {city} on {day}. / A storm is coming from the {direction}. / It is {count} degrees and sunny \
in {city}. / There is thick fog on {street}. / Snow is expected in {city}.
music: The choir sings in {city} on {day}. / {person} plays the violin. / The concert starts at {time}. / I bought a \
guitar for {price} euros. / {person} wrote a new song.
#
order: I would like to buy {count} {item}s. / Please send me the {colour} {item}. / I'd like to order the {item} in \
{colour}. / One {item} to {street}, please. / I'll take {count} of the {colour} {item}s.
cancel: Please cancel order {code}. / I no longer want the {item}, stop the order. / Don't send the {item} any more. / \
Call off my order {code}, please. / I want to cancel the {item} I ordered on {day}.
refund: I want my {price} euros back. / Please return my money for the {item}. / When do I get the refund for {code}? \
/ I sent the {item} back, where is my money? / Refund my {price} euros, please.
other: Who painted the picture in your shop? / Do you know {person}? / It is raining in {city}. / Happy birthday to \
{person}! / My cat is called {pet}.
#
urgent: Water is pouring out of the wall on {street}! / There is a fire in room {count}, come at once! / {person} is \
hurt, we need help now! / The server is down and {count} customers are waiting right now! / Gas smell on {street}, \
please hurry!
normal: Please repair the {item} by {day}. / Could {person} call me this week? / I need a new {item} for the office \
next week. / Please renew my pass before {day}. / The {item} needs a check by {day}.
low: Some day we could paint the door {colour}. / When you have time, sort the {item}s. / No hurry, but the {item} has \
a scratch. / It would be nice to have a {colour} {item} next year. / There is no rush, just tell {person} hello.
#
question: Where is {street}? / What time does the shop open on {day}? / How much is the {item}? / Who is {person}? / \
Is the {item} also sold in {colour}?
complaint: The {item} is broken again and I am angry. / I am very unhappy with {person}. / Your {item} is terrible. / \
I waited for {count} weeks, that is unacceptable. / The food in {city} was cold and the waiter was rude.
praise: Well done, {person}! / You have the best {item} in {city}. / Wonderful work, thank you. / {person} did a great \
job on {day}. / I am very happy with the {colour} {item}.
"""
CLASS_ORDERS = (
    "Sort the message into one of these classes: {classes}. Reply with the class only. | "
    "Classify each message as {classes}. Answer with one word. | "
    "You label messages. The labels are: {classes}. Write only the label. | "
    "Which class fits: {classes}? Give just the class. | "
    "Read the message and reply with exactly one of these words: {classes}."
)


def classify_message(rng: random.Random) -> Conversation:
    """The message is sorted into one of several classes."""
    rows = rng.choice(CLASS_SETS.strip().split("\n#\n")).split("\n")
    table = {name: texts.split(" / ") for name, texts in (row.split(": ", 1) for row in rows)}
    names = list(table)
    rng.shuffle(names)
    order = pick(CLASS_ORDERS, rng).format(classes=", ".join(names[:-1]) + f" or {names[-1]}")
    turns = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name = rng.choice(names)
        values = sample_values(rng)
        turns.append((type_hastily(rng.choice(table[name]).format(**values), rng, share=0.2), name))
    if len(turns) == 1 and rng.random() < 0.3:
        return build_dialogue(
            "", [(f"{order}\n{pick('Message: | Text: | Here it is: ', rng).strip()} {turns[0][0]}", turns[0][1])]
        )
    return build_dialogue(order, turns)


WORDS = (
    "banana river window pepper cloud lantern mountain coffee orange rocket pillow garden silver butter castle "
    "marble tulip "
    "engine forest ribbon thunder kitten ladder carpet island bottle meadow velvet compass walnut harbour pencil"
).split()


def repeat_words(rng: random.Random) -> Conversation:
    """Say a word, repeat it, repeat a sentence, or say hello to somebody."""
    word, other, name, bot = rng.choice(WORDS), rng.choice(WORDS), sample_name(rng), introduce_bot(rng).strip()
    kind = rng.choice(["say", "say", "times", "sentence", "two", "hello", "hello", "hello"])
    system = bot if rng.random() < 0.3 else ""
    if kind == "say":
        order = (
            f'Say "{word}". | Say the word {word}. | Please say {word}. | Just say {word}, nothing else. | '
            f"Write the word {word}."
        )
        answer = capitalize(word) + rng.choice(["", "."])
    elif kind == "two":
        order = f"Say {word} and then {other}. | First say {word}, then {other}. | Write {word} {other}."
        answer = f"{capitalize(word)} {other}"
    elif kind == "times":
        count, label = rng.choice([(2, "twice"), (3, "three times"), (4, "four times"), (5, "five times")])
        order = f"Say {word} {label}. | Repeat the word {word} {label}. | Write {word} {label}, please."
        answer = " ".join([word] * count)
    elif kind == "sentence":
        answer = pick(
            f"The {word} is next to the {other}. | My {word} is new. | {name} has {with_article(word)}. | "
            f"We saw the {word}.",
            rng,
        )
        order = f"Repeat after me: {answer} | Repeat this sentence: {answer} | Say this: {answer}"
        return build_dialogue(system, [(pick(order, rng), answer)])
    else:
        role = pick("my friend | my cousin | my neighbour | my colleague | my teammate | our guest", rng)
        order = (
            f"Say hello to {name}. | Please greet {name}. | Can you say hi to {role} {name}? | "
            f"Say hello to {role} {name}. | "
            f"{name} is here, say hello! | This is {role} {name}, please say hello."
        )
        answer = pick(f"Hello, {name}! | Hi {name}! | Hello {name}, nice to meet you! | Hi {name}, how are you?", rng)
    return build_dialogue(system, [(type_hastily(pick(order, rng), rng, (name, word, other)), answer)])


LISTS = {
    "colours": PLAIN_COLOURS,
    "animals": "dog cat horse cow sheep goat lion tiger bear fox wolf rabbit mouse duck".split(),
    "fruits": "apple banana pear cherry plum orange grape peach lemon mango".split(),
    "vegetables": "carrot potato onion cabbage spinach leek celery pea bean beetroot".split(),
    "drinks": "water tea coffee milk juice lemonade cocoa cider".split(),
    "countries in Europe": "France Spain Italy Poland Greece Norway Sweden Austria Ireland Portugal".split(),
    "pieces of clothing": "shirt jacket sock hat scarf glove coat dress belt".split(),
    "musical instruments": "piano violin guitar flute drum trumpet harp cello".split(),
    "pieces of furniture": "table chair sofa bed desk shelf wardrobe bench".split(),
    "birds": "robin eagle owl duck swan crow sparrow parrot".split(),
}
COUNT_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}


def list_things(rng: random.Random) -> Conversation:
    """A list of exactly N things."""
    count = rng.randint(2, 6)
    number = rng.choice([str(count), COUNT_WORDS[count]])
    if rng.random() < 0.25:
        series, unit, scope = rng.choice([(DAYS, "days", "of the week"), (MONTHS, "months", "of the year")])
        at_start = rng.random() < 0.7
        items = series[:count] if at_start else series[-count:]
        what = f"the {'first' if at_start else 'last'} {number} {unit} {scope}"
        order = f"List {what}. | Name {what}. | What are {what}? | Write down {what}."
    else:
        thing = rng.choice(list(LISTS))
        items = rng.sample(LISTS[thing], count)
        order = (
            f"List exactly {number} {thing}. | Name {number} {thing}. | Give me {number} {thing}. | "
            f"Tell me {number} {thing}."
        )
    layout = rng.choice(["commas", "commas", "numbers", "lines"])
    suffix = {
        "commas": " Nothing else. | Only the list, please. | Separate them with commas. | No explanation.",
        "numbers": "Number them. | As a numbered list. | Use a numbered list, please.",
        "lines": "One per line. | Each on its own line. | Put each one on a new line.",
    }[layout].strip()
    tail = pick(suffix, rng).strip()
    answer = ", ".join([capitalize(items[0]), *items[1:]])
    if layout == "numbers":
        answer = "\n".join(f"{at}. {capitalize(item)}" for at, item in enumerate(items, 1))
    elif layout == "lines":
        answer = "\n".join(capitalize(item) for item in items)
    if rng.random() < 0.3:
        system = introduce_bot(rng) + f"Write every list without any other text. {tail}"
        return build_dialogue(system, [(type_hastily(pick(order, rng), rng), answer)])
    return build_dialogue("", [(type_hastily(f"{pick(order, rng)} {tail}", rng), answer)])


DETAILS = (
    "customer number;order number;postcode;date of birth;first name;date of the purchase;phone number;booking code"
).split(";")
CONCERNS = """
My {item} has not arrived.|the missing {item};I want to return my {item}.|the return of the {item}
I'd like to change my address to {street}.|the new address;The {item} I bought is broken.|the broken {item}
Can I move my appointment to {day}?|the appointment on {day};I was charged {price} euros twice.|the double charge
I want to book a table for {count} people.|the table for {count} people;I need a copy of my invoice.|the copy of the \
invoice
I forgot my password.|the password;Can you cancel my order of the {colour} {item}?|the cancellation
"""


def demand_detail(rng: random.Random) -> Conversation:
    """A detail has to be asked for before any help."""
    detail = rng.choice(DETAILS)
    values = sample_values(rng)
    concern, topic = (
        text.format(**values) for text in rng.choice(CONCERNS.strip().replace("\n", ";").split(";")).split("|")
    )
    system = introduce_bot(rng) + pick(
        f"Before you help, ask for the {detail}. | Always ask for the {detail} first. | "
        f"Ask the user for the {detail} before "
        f"anything else. | You may only help after the user has given the {detail}. Ask for it.", rng,
    )  # fmt: skip
    value = {
        "postcode": str(rng.randint(10000, 99999)),
        "date of birth": f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1950, 2004)}",
        "first name": sample_name(rng),
        "date of the purchase": f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
        "phone number": f"0{rng.randint(100, 999)} {rng.randint(10000, 99999)}",
    }.get(detail, f"{rng.choice('ABKRT')}{rng.randint(1000, 9999)}")
    request = (
        f"I'll gladly help. What is your {detail}, please? | Of course. Could you tell me your {detail} first? | "
        f"Sure, I first need your {detail}. What is it? | Happy to help! May I have your {detail}, please?"
    ).replace("your date of the purchase", "the date of the purchase")
    turns = [(type_hastily(concern, rng), pick(request, rng))]
    if rng.random() < 0.6:
        reply = f"It's {value}. | {value} | Sure, {value}. | That is {value}."
        thanks = f"Thank you, I have noted {value}. Now to {topic}. | Thanks! {value} is noted. Let's look at {topic}."
        turns.append((pick(reply, rng), pick(thanks, rng)))
    return build_dialogue(system, turns)


TOPICS = """
cooking#How long do I boil a soft egg?/About five to six minutes.#How do I keep pasta from sticking?/Use plenty of \
water and stir it now and then.#What can I use instead of butter?/Oil or margarine often works well.
gardening#When should I water tomatoes?/Early in the morning is best.#Where do roses like to stand?/Roses like a sunny \
place.#When do I plant tulip bulbs?/Plant tulip bulbs in autumn.
cycling#How do I stop my chain from squeaking?/Clean it and add a little chain oil.#Do I need a helmet?/A helmet is a \
good idea on every ride.#How often do I check the tyres?/Check the pressure about once a week.
cats#How much does a cat sleep?/Most cats sleep twelve to sixteen hours a day.#May cats drink milk?/Water is better, \
as many cats cannot digest milk.#Why does my cat purr?/Cats often purr when they feel well.
tea#How long does black tea steep?/Three to five minutes.#How hot should water for green tea be?/About 70 to 80 \
degrees Celsius.#Does tea have caffeine?/Black and green tea do, most herbal teas do not.
trains#Do I need a ticket for the train?/Yes, buy a ticket before you board.#What does a train run on?/A train runs on \
rails.#Where do I wait for the train?/Wait on the platform.
painting walls#What do I do before painting?/Clean the wall and cover the floor.#How many coats do I need?/Two thin \
coats are usually enough.#Which tool is best for a big wall?/A paint roller is best for a big wall.
"""


def keep_topic(rng: random.Random) -> Conversation:
    """Only one topic is allowed; other questions are declined in a set way."""
    topic, *pairs = rng.choice(TOPICS.strip().split("\n")).split("#")
    refusal = pick(
        f"I can only talk about {topic}. | Sorry, my topic is {topic}. | Please ask me about {topic}. | "
        f"That is not my subject. | "
        f"I only answer questions about {topic}. | Let's stay with {topic}, please.", rng,
    )  # fmt: skip
    order = (
        f'You only talk about {topic}. To any other question, reply: "{refusal}" | '
        f'Answer only questions about {topic}. For everything else say "{refusal}" | '
        f'Your only topic is {topic}. If the user asks about something else, answer with "{refusal}"'
    )
    turns: Pairs = []
    for question, answer in (pair.split("/") for pair in rng.sample(pairs, rng.choice([0, 1, 1, 2]))):
        turns.append((type_hastily(question, rng), answer))
    if not turns or rng.random() < 0.7:
        fact = build_fact(rng)
        # Questions about food and animals could belong to the topic.
        while not re.search("capital|plus|minus|times|month|Monday|Friday|planet|opposite|greater", fact.question):
            fact = build_fact(rng)
        turns.insert(rng.randint(0, len(turns)), (ask(fact, rng), refusal))
    return build_dialogue(introduce_bot(rng) + pick(order, rng), turns)


FORMS = [follow_length] * 5 + [answer_plainly] * 4 + [follow_language] * 3 + [play_persona] * 2 + [classify_message] * 3
FORMS += [use_phrase, use_phrase, avoid_word, repeat_words, repeat_words, list_things, list_things, demand_detail]
FORMS += [keep_topic, keep_topic]


# --- Long conversations with recall ----------------------------------------------------------------------------------


def sample_values(rng: random.Random) -> dict[str, str]:
    """Return one random value for every kind of detail."""
    hour, minute = rng.randint(8, 17), rng.choice([0, 5, 10, 15, 20, 30, 40, 45, 50])
    return {
        "time": f"{hour}:{minute:02d}",
        "day": rng.choice(DAYS),
        "date": f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
        "person": sample_name(rng),
        "evening": f"{rng.randint(17, 21)}:{minute:02d}",
        "count": str(rng.randint(5, 40)),
        "colour": rng.choice(PLAIN_COLOURS),
        "price": str(rng.randint(12, 480)),
        "code": f"{rng.choice('ABCDKMRT')}-{rng.randint(1000, 9999)}",
        "model": f"{rng.choice(['Nordix', 'Velta', 'Karo', 'Lumo', 'Tarvo'])} {rng.randint(10, 990)}",
        "city": rng.choice(CITIES),
        "pet": rng.choice(PETS),
        "street": f"{rng.randint(2, 98)} {rng.choice(STREETS)}",
        "food": rng.choice(FOODS),
        "direction": rng.choice(DIRECTIONS),
        "item": rng.choice(ITEMS),
    }


# What the detail is called | kind of value | statements | replies | question. A scenario: openings, details, fillers.
SCENARIOS = """
I'm planning a trip. / We are going on holiday soon. / I finally booked our trip.
where we go|city|We are going to {v}. / The trip goes to {v}. / Our destination is {v}.|{v} sounds lovely. / {v} is a \
fine choice.|Which city are we going to?
the departure time|time|The train leaves at {v}. / We depart at {v}. / Our departure is at {v}.|Departure at {v}, \
noted. / Then be there before {v}.|What time do we leave?
the number of travellers|count|We will be {v} people. / There are {v} of us. / {v} people are coming along.|{v} \
people, that will be lively. / A group of {v}, nice.|How many people are travelling?
the name of our guide|person|Our guide is called {v}. / The guide is {v}. / A guide named {v} will show us around.|I \
hope {v} knows the best spots. / Good to know that {v} guides you.|What is our guide called?
The bus back takes {count} minutes. > That is not too bad.
My cousin {person} lives in {city}. > Maybe you can visit {person} another time.
Last year the train was at {time} and we missed it. > Better luck this year!
I packed a {colour} {item}. > Good, that may be useful.
It may rain on {day}. > Then take a rain jacket.
#
I have a new pet. / We have a new animal at home. / Our family has grown: we have a puppy.
the name of my puppy|pet|My puppy is called {v}. / We named the puppy {v}. / The puppy's name is {v}.|{v} is a cute \
name. / Welcome, {v}!|What is my puppy called?
the appointment at the vet|day|We go to the vet on {v}. / The vet sees us on {v}. / Our vet appointment is on {v}.|I \
hope all goes well on {v}. / {v} at the vet, noted.|On which day do we go to the vet?
the colour of the collar|colour|The collar is {v}. / I bought a {v} collar. / We chose a collar in {v}.|{v} will look \
good. / A nice choice, {v}.|What colour is the collar?
the vet's name|person|The vet is called {v}. / Our vet's name is {v}. / {v} is our vet.|I hope {v} is gentle. / {v} \
will take good care.|What is the vet called?
My neighbour's cat is called Mog. > Maybe the two will become friends.
The food costs {price} euros a month. > That is quite a sum.
We walk {count} minutes every morning. > That is healthy for both of you.
My old {item} is already chewed. > Puppies love to chew.
My friend {person} is afraid of dogs. > A calm first meeting can help.
#
I have news from work. / Work was busy today. / We have a big meeting coming up.
the meeting time|time|The meeting starts at {v}. / We meet at {v}. / My boss wants us there at {v}.|{v} it is. / Then \
keep {v} free.|What time does the meeting start?
the name of my new boss|person|My new boss is {v}. / My new boss is called {v}. / The boss is now {v}.|I hope {v} is \
nice. / Good luck with {v}.|What is my new boss called?
the project number|code|The project number is {v}. / Our project has the number {v}. / It runs under number \
{v}.|Project {v}, understood. / {v}, noted.|What is the project number?
the number of guests|count|{v} guests are invited. / We expect {v} guests. / There will be {v} guests.|{v} guests need \
enough chairs. / That's {v} guests, fine.|How many guests do we expect?
The coffee machine broke on {day}. > That is hard for an office.
My colleague {person} is ill. > I hope your colleague gets well soon.
The canteen opens at {time}. > Good to know for your break.
I answered {count} emails today. > You were busy!
My desk has a new {colour} lamp. > A little colour helps.
#
We are moving house. / I'm moving soon. / Next month we move to a new flat.
our new address|street|The new address is {v}. / We move to {v}. / The flat is at {v}.|{v} sounds like a nice spot. / \
{v}, noted.|What is our new address?
the moving day|date|We move on {v}. / The moving day is {v}. / The van comes on {v}.|Then {v} will be a long day. / \
{v}, I see.|On which date do we move?
the number of boxes|count|We packed {v} boxes. / There are {v} boxes. / All we own fits into {v} boxes.|{v} boxes, \
well done. / That's {v} boxes to carry.|How many boxes are there?
the colour of the kitchen|colour|The kitchen is {v}. / We painted the kitchen {v}. / The kitchen walls are {v}.|A {v} \
kitchen, how nice. / {v} suits a kitchen.|What colour is the kitchen?
The old flat was at {street}. > You will surely remember it.
My friend {person} helps us carry. > It's good to have friends.
The van costs {price} euros. > That is a fair part of the budget.
We will sell the {item}. > One thing less to carry.
The stairs have {count} steps. > That will keep you fit.
#
My machine broke down. / I need a repair. / My washing machine stopped working.
the model of the machine|model|It is a {v}. / The model is {v}. / The machine is called {v}.|A {v}, understood. / \
Model {v}, noted.|Which model is it?
the error code|code|It shows error {v}. / The display says {v}. / The error code is {v}.|Error {v}, noted. / I see, \
{v}.|Which error code does it show?
the price of the repair|price|The repair costs {v} euros. / They want {v} euros. / The offer is {v} euros.|{v} euros, \
all right. / That is {v} euros to think about.|How much is the repair?
the name of the technician|person|The technician is {v}. / {v} will repair it. / A technician named {v} comes.|I hope \
{v} can fix it. / {v} will surely have a look.|What is the technician called?
The shop opens at {time}. > Then you can call them soon.
My mother's machine cost {price} euros. > Prices differ a lot.
I bought it with {person}. > Let's hope it lasts longer now.
We wash {count} shirts a week. > That's a lot of laundry.
The floor is wet. > Please be careful not to slip.
#
I placed an order. / I ordered something in your shop. / I have a question about an order.
the order number|code|The order number is {v}. / It's order {v}. / My order has the number {v}.|Order {v}, thank you. \
/ Thanks, I noted {v}.|What was the order number?
what I ordered|item|I ordered the {v}. / The order is for the {v}. / I bought the {v}.|The {v} is a good choice. / I \
see, the {v}.|What did I order?
the colour|colour|I chose it in {v}. / The colour is {v}. / It should be {v}.|{v}, understood. / In {v}, fine.|Which \
colour did I choose?
the delivery day|day|It should come on {v}. / Delivery is planned for {v}. / They deliver on {v}.|Delivery on {v}, \
noted. / I hope it comes on {v}.|When should it come?
My last order cost {price} euros. > Thank you for coming back to us.
My neighbour {person} takes parcels for me. > That is kind.
I also looked at a {model}. > It's good to compare.
The other shop was closed at {time}. > Online shopping is easier then.
The box should fit through the door. > I hope it does.
#
I see the doctor soon. / I have a doctor's appointment. / Next week I go to the doctor.
the doctor's name|person|The doctor is called {v}. / My doctor is {v}. / I see Doctor {v}.|I hope {v} can help you. / \
{v} will take good care of you.|What is the doctor called?
the appointment time|time|The appointment is at {v}. / I have to be there at {v}. / They see me at {v}.|{v}, noted. / \
Be there shortly before {v}.|What time is my appointment?
my allergy|food|I'm allergic to {v}. / I can't have {v}, I'm allergic. / I have an allergy to {v}.|Thanks for telling \
me about {v}. / No {v}, I understand.|What am I allergic to?
the address of the practice|street|The practice is at {v}. / I have to go to {v}. / The doctor works at {v}.|{v}, \
noted. / Then plan your way to {v}.|Where is the practice?
My knee hurts when I run. > I'm sorry to hear that.
My colleague {person} had the same. > I hope {person} feels better now.
I slept {count} minutes at noon. > Rest is good for you.
The pharmacy opens at {time}. > That is good to know.
The last visit was on {day}. > Good that you keep an eye on it.
#
I have a school project. / We have homework for school. / My class is doing a project.
the name of my teacher|person|My teacher is {v}. / My teacher is called {v}. / {v} teaches us.|I hope {v} likes your \
project. / {v} gave you an exciting task.|What is my teacher called?
the hand-in date|date|We hand it in on {v}. / It is due on {v}. / The hand-in date is {v}.|{v}, then let's plan well. \
/ Due on {v}, noted.|When is it due?
the city of our project|city|It is about the city of {v}. / Our subject is {v}. / We write about {v}.|{v} has a lot to \
offer. / {v}, how interesting.|Which city is the project about?
the number of pages|count|We need {v} pages. / It must have {v} pages. / The text has {v} pages.|{v} pages, you can do \
it. / That's {v} pages, fine.|How many pages do we need?
My friend {person} draws the pictures. > Pictures make it nicer.
The library opens at {time}. > Then you can plan your visit.
Last time I got {count} points. > Not bad!
I use a {colour} folder. > Then you find it quickly.
The poster hangs in the hall. > Everybody will see it.
#
Let's write a story together. / I want to make up a story. / Help me with a story.
the hero's name|person|The hero is called {v}. / Our hero is {v}. / A child named {v} is the hero.|{v} is a good name \
for a hero. / I like {v} already.|What is the hero called?
the colour of the dragon|colour|There is a {v} dragon. / The dragon is {v}. / A dragon appears, and it is {v}.|A {v} \
dragon, how exciting! / I can see it: {v} from head to tail.|What colour is the dragon?
the direction of the journey|direction|They travel {v}. / The journey goes {v}. / They set off to the {v}.|Off to the \
{v}! / The road to the {v} is long.|In which direction do they travel?
the magic object|item|They find a magic {v}. / The treasure is a {v}. / A {v} has magic powers.|A magic {v}, \
wonderful. / Who would expect that of a {v}?|What is the magic object?
Then it gets dark. > An owl calls in the distance.
A wizard named {person} waves. > The wizard seems to be friendly.
They walk for {count} hours. > Their feet hurt by now.
A village has {count} houses. > Smoke rises from the roofs.
They sleep under a tree. > The night is calm.
#
I'm cooking tonight. / I have guests for dinner. / I want to try a new recipe.
the number of guests|count|{v} guests are coming. / I cook for {v} people. / We will be {v} at the table.|{v} people, \
you need a big pot. / Cooking for {v}, great.|How many people do I cook for?
what my guest cannot eat|food|One guest can't eat {v}. / My guest is allergic to {v}. / Please no {v}, for one guest \
is allergic.|Then we leave out {v}. / No {v}, understood.|What can my guest not eat?
the dinner time|evening|Dinner is at {v}. / We eat at {v}. / The food should be ready at {v}.|Ready at {v}, that \
works. / {v}, noted.|What time do we eat?
the name of my guest of honour|person|The guest of honour is {v}. / {v} is the guest of honour. / We celebrate \
{v}.|{v} will be pleased. / I hope {v} is hungry.|Who is the guest of honour?
The oven takes {count} minutes. > Then switch it on early.
I bought wine for {price} euros. > Your guests will enjoy it.
My neighbour {person} lent me a pan. > That is friendly.
The tablecloth is {colour}. > It will look festive.
I peel the potatoes now. > A good start.
#
I joined a choir. / Our choir has a concert. / I sing in a choir now.
the rehearsal day|day|We rehearse on {v}. / Rehearsal is on {v}. / The choir meets on {v}.|{v} is a good day for \
singing. / On {v}, noted.|On which day do we rehearse?
the choir leader's name|person|The leader is {v}. / Our choir leader is called {v}. / {v} leads the choir.|I hope {v} \
is patient. / {v} surely has a good ear.|Who leads the choir?
the number of singers|count|We are {v} singers. / There are {v} singers. / The choir has {v} voices.|{v} singers, how \
nice. / {v} voices, lovely.|How many singers are there?
the city of the concert|city|The concert is in {v}. / We sing in {v}. / We give a concert in {v}.|{v} can look forward \
to it. / A concert in {v}, lovely.|Where is the concert?
My sister sings in a choir of {count}. > Music runs in the family.
A ticket costs {price} euros. > Good music is worth it.
{person} plays the piano. > A piano helps to keep the tune.
We wear {colour} scarves. > That looks good on stage.
The hall opens at {time}. > People will come early.
#
I play football in a club. / We have a match soon. / My team trains a lot.
my shirt number|count|My shirt number is {v}. / I wear number {v}. / I have the {v} on my shirt.|Number {v}, great. / \
I'll look out for {v}.|What is my shirt number?
the match day|day|The match is on {v}. / We play on {v}. / Our match takes place on {v}.|Good luck on {v}! / {v} will \
be exciting.|On which day is the match?
the coach's name|person|The coach is {v}. / Our coach is called {v}. / {v} trains us.|I hope {v} is fair. / {v} seems \
to work you hard.|What is our coach called?
our team colour|colour|We play in {v}. / Our shirts are {v}. / The team colour is {v}.|{v} looks good on the pitch. / \
I like {v} shirts.|What colour are our shirts?
The other team comes from {city}. > That is an interesting match.
Our goalkeeper {person} is injured. > I hope it is nothing bad.
We trained {count} times this season. > You will be in good shape.
Shoes cost me {price} euros. > Good shoes are worth it.
It starts at {time}. > Then there is time for a warm-up.
#
I have new neighbours. / There is a street party here. / Someone moved in next door.
my neighbour's name|person|My neighbour is called {v}. / The neighbour's name is {v}. / The new neighbour is {v}.|{v} \
sounds friendly. / Nice that you met {v}.|What is my neighbour called?
the date of the party|date|The party is on {v}. / We celebrate on {v}. / The street party takes place on {v}.|{v}, I \
hope the sun shines. / Have fun on {v}.|On which date is the party?
the colour of their car|colour|Their car is {v}. / They drive a {v} car. / The new car next door is {v}.|A {v} car is \
easy to spot. / {v}, I see.|What colour is their car?
the name of their dog|pet|Their dog is called {v}. / They have a dog named {v}. / The dog is {v}.|{v} is a nice name \
for a dog. / Hello, {v}!|What is their dog called?
The people before moved to {city}. > I hope they are happy there.
They have {count} flower pots. > That must look lovely.
{person} across the road brings cake. > Cake is always welcome.
My fence cost {price} euros. > A good fence lasts long.
They mow the lawn at {time}. > I hope it does not bother you.
"""

RECALL_LEADS = (
    "Remind me: | For the form: | One more thing: | Sorry, I forgot: | Just to be sure: | By the way, | "
    "Before I go: | Now tell me: | "
)
RECALL_LEADS += "My friend asks: | Let's check: | Oh, | I need it for my notes: | Quick check:"
TAILS = (
    " |  |  | Thanks! | Thank you. | I want to be sure. | It slipped my mind. | I lost my note. | Just checking. | "
    "My memory is bad. | "
    "I'd like to know. | That would help me. | I hope you know. | I have to write it down. | I mixed it up."
)
RECALL_NOUNS = (
    "Can you remind me of {noun}? | What did I say about {noun}? | I forgot {noun}. Can you repeat it? | "
    "Please repeat {noun}. | "
    "Do you still know {noun}? | Do you remember {noun}? | Tell me again, please: {noun}. | I need {noun} once more."
)
BYWAYS = """
I need a cup of tea first. > Take your time.;Wait, my phone is ringing. > Sure, I'll be here.;Are you still there? > \
Yes, I'm here.
It is so windy today. > Then it's nice to be inside.;I'm a bit tired. > A short break may help.;You are nice to talk \
to. > Thank you, I enjoy it too.
My {item} fell down just now. > I hope it isn't broken.;I slept well last night. > That's a good start.;Lunch was \
cheaper today. > Every bit helps.
It is raining outside. > A good day for a book then.;I just ate an apple. > That is a healthy snack.;The cat jumped on \
my lap. > It seems to like you.
The doorbell rang, one moment. > No hurry, I'll wait for you.;My coffee is cold by now. > A fresh cup will taste \
better.;I have to find a pen. > Take all the time you need.
The day went by so fast. > Busy days often feel short.;I saw a rainbow this morning. > How lovely, that's a nice way \
to start the day.;My phone battery is low. > Then better plug it in soon.
I forgot my keys this morning. > That happens to all of us.;The bus was late again. > I hope you did not wait long.;I \
watched a funny film with {person}. > Laughing together is the best.
I moved the {item} to the window. > I hope it looks good there.;My plants need water. > They will thank you for it.;I \
learned a new song. > How nice, music lifts the mood.
{person} baked a cake for us. > That must smell wonderful.;I cleaned the whole kitchen. > Well done, that feels good \
afterwards.;It gets dark early now. > A warm light makes evenings cosy.
I took the stairs up {count} floors. > That was good exercise!;I lost at chess against {person}. > You may win the \
next game.;My neighbour bought a {colour} bike. > It will be easy to find.
I paid {price} euros for a {item}. > I hope you enjoy it for a long time.;The train to {city} was full. > I hope you \
found a seat.;Have you seen the moon? > I cannot see it, but I hope it is bright.
I read {count} pages today. > That's a nice habit.;{person} sends greetings. > Thank you, greetings back!;I found \
{count} coins in my coat. > A lucky day!
"""


ADDED_REPLIES = (
    " |  |  |  | Thanks for telling me. | I'll keep that in mind. | That is good to know. | "
    "Tell me more if you like. | I'm listening. | "
    "What else should I know? | Please go on. | Let me know what comes next. | "
    "I see."
)


class Detail(NamedTuple):
    """A detail that the user states: its name, its value, the statements, the replies and the question about it."""

    noun: str
    value: str
    kind: str
    statements: str
    replies: str
    question: str


def state_details(details: list[Detail], opening: str, rng: random.Random) -> tuple[str, str]:
    """Return a turn in which the user states one or two details and the assistant takes them up."""
    statements = [rng.choice(detail.statements.split(" / ")).replace("{v}", detail.value) for detail in details]
    replies = [capitalize(rng.choice(d.replies.split(" / ")).replace("{v}", d.value)) for d in details]
    text = type_hastily(" ".join(filter(None, [opening, *statements])), rng, tuple(d.value for d in details), 0.25)
    return text, " ".join([*replies, pick(ADDED_REPLIES, rng)]).strip()


def recall_detail(detail: Detail, rng: random.Random) -> tuple[str, str]:
    """Return the question about a detail and the answer with exactly its value."""
    if rng.random() < 0.55:
        lead = pick(RECALL_LEADS, rng) if rng.random() < 0.8 else ""
        question = join_lead(lead.strip(), detail.question)
    else:
        question = pick(RECALL_NOUNS, rng).format(noun=detail.noun)
    question = f"{question} {pick(TAILS, rng)}".strip()
    value = f"{detail.value} euros" if detail.kind == "price" else detail.value
    value = f"the {value}" if detail.kind == "item" else value
    noun = re.sub(r"\bour\b", "your", re.sub(r"\bmy\b", "your", detail.noun))
    verb = "are going to" if detail.noun == "where we go" else ""
    if verb:
        answer = f"You are going to {value}. | You said {value}. | The trip goes to {value}."
    elif detail.noun.startswith("what "):
        owner = "You ordered" if "ordered" in detail.noun else "Your guest cannot eat"
        answer = f"{owner} {value}. | You said {value}."
    else:
        noun = capitalize(noun)
        answer = f"{noun} is {value}. | You said {value}. | It's {value}. | As you told me, it's {value}."
    return type_hastily(question, rng), capitalize(pick(answer, rng))


def hold_conversation(rng: random.Random) -> Conversation:
    """A conversation of 3 to 10 exchanges; the last questions ask for details from its beginning."""
    lines = rng.choice(SCENARIOS.strip().split("\n#\n")).split("\n")
    openings, rows, fillers = (
        lines[0],
        [line for line in lines if "|" in line],
        [line for line in lines if " > " in line],
    )
    values = sample_values(rng)
    details = [Detail(row[0], values[row[1]], row[1], *row[2:]) for row in (line.split("|") for line in rows)]
    details = rng.sample(details, rng.randint(2, 4))
    opening = rng.choice(openings.split(" / "))
    size = rng.choice([1, 2])
    turns = [state_details(details[:size], opening, rng)]
    middle = [state_details([detail], "", rng) for detail in details[size:]]
    fillers = fillers + rng.sample(BYWAYS.strip().replace("\n", ";").split(";"), 4)
    # The values of the fillers differ from those of the details, so that each question has one right answer.
    others = sample_values(rng)
    while any(others[key] == values[key] for key in values):
        others = sample_values(rng)
    for filler in rng.sample(fillers, rng.randint(1, 9 - len(middle) - 2)):
        text, reply = filler.format(**others).split(" > ")
        middle.append((type_hastily(text, rng, tuple(others.values())), reply))
    rng.shuffle(middle)
    turns += middle
    turns += [recall_detail(detail, rng) for detail in rng.sample(details, rng.choice([1, 1, 1, 2]))]
    return build_dialogue(introduce_bot(rng).strip(), turns)


# --- Names -----------------------------------------------------------------------------------------------------------

INTRODUCTIONS = (
    "Hi, I'm {name}. | Hello, my name is {name}. | I am {name}. | My name's {name}, hello! | Hey, {name} here. | "
    "Good morning, my name is {name}. | Hi! You can call me {name}. | This is {name} speaking. | "
    "People call me {name}. | "
    "I'm {name}, nice to meet you. | Good evening, I'm called {name}. | Let me introduce myself: {name}. | "
    "It's me, {name}."
)
ADDITIONS = (
    " | I live in {city}. | I am {age} years old. | I come from {city}. | I work as {job}. | I'm new here. | "
    "I have a cat called {pet}. | My friend {other} told me about you. | I like {colour} best. | "
    "My cousin is called {other}."
)
GREETINGS = (
    "Hello, {name}! | Hi {name}, nice to meet you! | Nice to meet you, {name}. How can I help? | Welcome, {name}! | "
    "Hello {name}, what can I do for you? | Good to meet you, {name}! | Hi {name}! How are you? | A pleasure, {name}."
)
NAME_QUESTIONS = (
    "What is my name? | Do you remember my name? | What was my name again? | Do you know who I am? | Who am I? | "
    "What's my name? | Can you tell me my name? | Did you remember my name? | Which name did I tell you? | "
    "What am I called? | "
    "So what did I say my name was? | Tell me my name, please. | Do you still know what I'm called?"
)
NAME_ANSWERS = (
    "Your name is {name}. | You are {name}. | You told me your name is {name}. | It's {name}. | "
    "Of course, you're {name}! | "
    "Sure, your name is {name}. | You said your name is {name}. | I remember: your name is {name}."
)
NAME_UNKNOWN = (
    "You haven't told me your name yet. | I don't know your name yet. What is it? | "
    "You have not told me yet. What is your name? | "
    "I can't know that yet, as you haven't told me your name. | Your name hasn't come up yet. What may I call you? | "
    "So far you haven't mentioned your name. | I don't know it yet. Please tell me your name."
)


def remember_name(rng: random.Random) -> Conversation:
    """The user gives a name and asks for it later, or asks without having given one."""
    name, other = sample_name(rng), sample_name(rng)
    while other == name:
        other = sample_name(rng)
    values = {
        **sample_values(rng), "name": name, "person": other, "other": other, "age": str(rng.randint(8, 85)),
        "job": with_article(rng.choice(JOBS.replace("\n", ";").strip(";").split(";")).split("|")[0]),
    }  # fmt: skip
    is_known = rng.random() < 0.72
    turns = []
    if is_known:
        addition = pick(ADDITIONS, rng) if rng.random() < 0.5 else ""
        text = f"{pick(INTRODUCTIONS, rng)} {addition}".strip().format(**values)
        # The own name may stand in lower case: the answer writes it with a capital letter.
        fixed = tuple(values[key] for key in ("other", "city", "pet"))
        turns.append((type_hastily(text, rng, fixed), pick(GREETINGS, rng).format(**values)))
    fillers = rng.sample(BYWAYS.strip().replace("\n", ";").split(";"), 3)
    for _ in range(rng.choice([0, 1, 1, 2, 3, 4])):
        if fillers and rng.random() < 0.5:
            text, reply = fillers.pop().format(**values).split(" > ")
            turns.append((type_hastily(text, rng, (other,)), reply))
        else:
            fact = build_fact(rng)
            turns.append((ask(fact, rng), fact.sentence))
    lead = pick(
        " |  | Quick question: | Tell me, | By the way, | Now, | One more thing: | And | Hello! | Hey, | Okay, | "
        "Just a test:",
        rng,
    )
    question = f"{join_lead(lead.strip(), pick(NAME_QUESTIONS, rng))} {pick(TAILS, rng)}".strip()
    if is_known and turns and rng.random() < 0.15:
        return build_dialogue(introduce_bot(rng).strip(), turns)  # the greeting alone
    turns.append((type_hastily(question, rng), pick(NAME_ANSWERS if is_known else NAME_UNKNOWN, rng).format(**values)))
    if not is_known and rng.random() < 0.5:
        turns.append(
            (type_hastily(pick(INTRODUCTIONS, rng).format(**values), rng), pick(GREETINGS, rng).format(**values))
        )
        if rng.random() < 0.6:
            turns.append((type_hastily(pick(NAME_QUESTIONS, rng), rng), pick(NAME_ANSWERS, rng).format(**values)))
    return build_dialogue(introduce_bot(rng).strip(), turns)


def instruction_dialogues(count: int, seed: int) -> Iterator[Conversation]:
    """Yield `count` dialogues: instructions on the form, recall in long conversations, names, about a third each.

    A system message with a question that an earlier dialogue has is drawn again, up to ten times.
    """
    rng = random.Random(seed)
    seen: set[tuple[str, ...]] = set()
    for number in range(count):
        for _ in range(10):
            family = number % 3
            build = rng.choice(FORMS) if family == 0 else hold_conversation if family == 1 else remember_name
            dialogue = build(rng)
            opening = tuple(message.content for message in dialogue.messages if message.role != "assistant")
            key = opening[:2] if dialogue.messages[0].role == "system" else ("", opening[0])
            if key not in seen:
                break
        seen.add(key)
        yield dialogue
