"""Values for the slots of the templates: names and addresses of several countries from Faker and lists of ours."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from faker import Faker

from turnwise.core.strict_yaml import read_yaml
from turnwise.privacy.tagger_features import COMPOUND_SURNAMES, SURNAMES

ENGLISH_LOCALES = (
    "en_US", "en_GB", "en_IN", "en_US", "en_GB", "es_ES", "de_DE", "fr_FR", "it_IT", "nl_NL", "sv_SE", "tr_TR", "pt_BR",
    "en_KE", "id_ID", "pl_PL", "en_NG",
)  # fmt: skip
_WORDS: dict[str, Any] = read_yaml(Path(__file__).with_name("words.yaml"), "words")
MORE_FIRST, MORE_LAST = _WORDS["first_names"].split(), _WORDS["last_names"].split()
TITLES = _WORDS["chinese_titles"].split()
ASIAN_AREAS = (
    "Nagar",
    "Layout",
    "Colony",
    "Vihar",
    "Enclave",
    "Sector 12",
    "Phase 2",
    "4th Block",
    "Gardens",
    "Estate",
)
ENGLISH_SLOTS, CHINESE_SLOTS = (
    {slot: [value.strip() for value in values.split("|")] for slot, values in _WORDS[name].items()}
    for name in ("english_slots", "chinese_slots")
)


@cache
def _word_list(name: str) -> list[str]:
    words: list[str] = _WORDS[name].split()
    return words


@cache
def _fakers() -> dict[str, Faker]:
    fakers = {locale: Faker(locale) for locale in {*ENGLISH_LOCALES}}
    for index, faker in enumerate(fakers.values()):
        faker.seed_instance(index)
    return fakers


@cache
def latin_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Given names and surnames of one word, from the locales of Faker and the lists above."""
    first, last = set(MORE_FIRST), set(MORE_LAST)
    for faker in _fakers().values():
        provider = next(entry for entry in faker.get_providers() if "person" in type(entry).__module__)
        for target, attribute in ((first, "first_names"), (last, "last_names")):
            target |= {name for name in getattr(provider, attribute, ()) if name.replace("'", "").isalpha()}
    return tuple(sorted(first)), tuple(sorted(last))


class Fillers:
    """Draws values of slots.

    Args:
        rng: source of random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._first, self._last = latin_names()

    def fill(self, slot: str, *, is_chinese: bool) -> str:
        """A value of a slot. Raises `AttributeError` for an unknown slot."""
        options = (CHINESE_SLOTS if is_chinese else ENGLISH_SLOTS).get(slot)
        if options is not None:
            return self.rng.choice(options)
        suffix = "_zh" if is_chinese and hasattr(self, f"{slot.lower()}_zh") else ""
        value: Callable[[], str] = getattr(self, slot.lower() + suffix)
        return value()

    def _pick(self, name: str) -> str:
        """A word of a list of `words.yaml`."""
        return self.rng.choice(_word_list(name))

    def first(self) -> str:
        """A given name; sometimes one that was made up, so that context counts."""
        roll = self.rng.random()
        if roll < 0.15:
            return self.rng.choice(MORE_FIRST)
        if roll < 0.25:
            return self._made_up()
        return self.rng.choice(self._first)

    def last(self) -> str:
        """A surname."""
        roll = self.rng.random()
        if roll < 0.06:
            return f"{self.rng.choice(self._last)}-{self.rng.choice(self._last)}"
        if roll < 0.16:
            return self._made_up() + self.rng.choice(("", "son", "ski", "ova", "ini", "berg", "well", "wick", "worth"))
        if roll < 0.20:
            particle = self.rng.choice(("de", "van", "van der", "de la", "von", "al-", "El-", "bin", "da", "Mc", "O'"))
            return particle + ("" if particle[-1] in "-c'" else " ") + self.rng.choice(self._last)
        return self.rng.choice(MORE_LAST if roll < 0.4 else self._last)

    def name(self) -> str:
        """A full name."""
        first, last = self.first(), self.last()
        roll = self.rng.random()
        if roll < 0.06:
            return f"{first[0]}. {last}"
        if roll < 0.10:
            return f"{first} {self.rng.choice('ABCDEFGHJKLMNPRSTW')}{self.rng.choice(('.', ''))} {last}"
        if roll < 0.15:
            return f"{first} {self.first()} {last}"
        if roll < 0.18:
            return f"{first}-{self.first()} {last}"
        if roll < 0.22:
            return f"{first} {last} {self.rng.choice(self._last)}"
        return f"{first} {last}"

    def person(self) -> str:
        """A given or a full name."""
        return self.first() if self.rng.random() < 0.5 else self.name()

    def _made_up(self) -> str:
        starts, vowels = (
            [
                "b",
                "c",
                "d",
                "f",
                "g",
                "h",
                "j",
                "k",
                "l",
                "m",
                "n",
                "p",
                "r",
                "s",
                "t",
                "v",
                "w",
                "z",
                "br",
                "ch",
                "dr",
                "fl",
                "gr",
                "kr",
                "sh",
                "st",
                "th",
                "tr",
                "zh",
            ],
            "aeiou",
        )
        syllables = "".join(self.rng.choice(starts) + self.rng.choice(vowels) for _ in range(self.rng.randint(1, 3)))
        return (syllables + self.rng.choice(("", "n", "r", "l", "s", "m", "th", "na", "ko"))).capitalize()

    def street(self) -> str:
        """House number and street."""
        number = self._house_number()
        street = f"{self._pick('streets')} {self._pick('street_types')}"
        if self.rng.random() < 0.2:
            street = f"{self._pick('streets')} {street}"
        if self.rng.random() < 0.15:
            street = (
                f"{self.rng.choice('NSEW')}{self.rng.choice(('', '.'))} {self._ordinal()} {self._pick('street_types')}"
            )
        roll = self.rng.random()
        if roll < 0.07:
            return f"number {number} {street}"
        if roll < 0.12:
            return f"{street} {number}"
        if roll < 0.15:
            return f"No. {number}, {street}"
        return f"{number} {street}"

    def address(self) -> str:
        """A postal address in the style of one of many countries."""
        roll, city = self.rng.random(), self._city()
        inner = self.rng.choice(
            (
                "Apt {n}",
                "Apt. {n}",
                "apt {n}b",
                "Flat {n}",
                "Unit {n}",
                "Suite {n}00",
                "#{n}",
                "Floor {n}",
                "Apartment {n}",
            )
        ).format(n=self.rng.randint(1, 60))
        street, postcode = self.street(), self._postcode()
        if roll < 0.25:
            return self.street() if self.rng.random() < 0.5 else f"{street}, {city}"
        if roll < 0.45:  # North America, Australia
            state = self.rng.choice(
                [
                    "AL",
                    "AZ",
                    "CA",
                    "CO",
                    "CT",
                    "FL",
                    "GA",
                    "IL",
                    "IN",
                    "KY",
                    "LA",
                    "MA",
                    "MD",
                    "MI",
                    "MN",
                    "NC",
                    "NJ",
                    "NM",
                    "NV",
                    "NY",
                    "OH",
                    "OK",
                    "OR",
                    "PA",
                    "TN",
                    "TX",
                    "UT",
                    "VA",
                    "WA",
                    "ON",
                    "BC",
                    "QC",
                    "NSW",
                    "VIC",
                    "QLD",
                    "California",
                    "Texas",
                    "Ohio",
                    "Florida",
                ]
            )
            parts = [
                street,
                *([inner] if self.rng.random() < 0.35 else []),
                city,
                f"{state} {self.rng.randint(10000, 99999)}",
            ]
            return self.rng.choice((", ", ", ", " ")).join(parts)
        if roll < 0.6:  # United Kingdom, Ireland
            parts = [*([inner] if self.rng.random() < 0.3 else []), street, f"{city} {postcode}"]
            return self.rng.choice((", ", ", ", "\n")).join(parts)
        if roll < 0.66:
            box = self.rng.choice(("PO Box", "P.O. Box", "p.o. box"))
            code = self.rng.choice(("", f" {self.rng.randint(1000, 99999)}"))
            return f"{box} {self.rng.randint(10, 9999)}, {city}{code}"
        if roll < 0.73:  # India, South-East Asia
            return self._asian(city)
        if roll < 0.90:
            return self._european(city)
        locale = self.rng.choice(ENGLISH_LOCALES)
        address: str = _fakers()[locale].address()
        return address if self.rng.random() < 0.5 else address.replace("\n", ", ")

    def _asian(self, city: str) -> str:
        before = self.rng.choice(("No. ", "House ", "Plot ", "Block ", "", "Flat "))
        road = self.rng.choice(
            (
                f"{self._ordinal()} Cross",
                "MG Road",
                f"Road {self.rng.randint(1, 30)}",
                f"Jalan {self.rng.choice(self._last)}",
            )
        )
        area = f"{self.rng.choice(self._last)} {self.rng.choice(ASIAN_AREAS)}"
        return f"{before}{self._house_number()}, {road}, {area}, {city} {self.rng.randint(100000, 999999)}"

    def _european(self, city: str) -> str:
        last, number, code = self.rng.choice(self._last), self._house_number(), self.rng.randint(1000, 99999)
        word = self._pick("streets").replace("'", "")
        street = self.rng.choice((
            f"{last}straße {number}", f"{last}str. {number}", f"{word}weg {number}", f"Am {word}platz {number}",
            f"{last}gasse {number}", f"{last} vej {number}",
            f"{number} rue de {last}", f"{number} Rue des {last}s", f"{number}, avenue {last}",
            f"Calle {last} {number}", f"Calle de {last} {number}, 2ºA", f"Via {last} {number}",
            f"Viale {last}, {number}", f"Piazza {last} {number}",
            f"{last}straat {number}", f"{last}gracht {number}", f"{last}gatan {number}", f"{last}gata {number}",
            f"Rua {last}, {number}", f"Avenida {last} {number}", f"ul. {last} {number}", f"{last} Caddesi No: {number}",
        ))  # fmt: skip
        tail = self.rng.choice(
            (
                f", {code} {city}",
                f", {code} {city}",
                f"\n{code} {city}",
                f" {city}",
                f", {city}",
                "",
                f", {code} {city}, {self.fill('COUNTRY', is_chinese=False)}",
            )
        )
        return street + tail

    def _city(self) -> str:
        if self.rng.random() < 0.5:
            return self.fill("CITY", is_chinese=False)
        stem = self._pick("streets").replace("'", "").lower()
        return (
            stem
            + self.rng.choice(
                ("ton", "ville", "field", "ham", "bury", "ford", "port", "burg", "stadt", "wick", " Falls", " Springs")
            )
        ).capitalize()

    def _postcode(self) -> str:
        letters = "ABDEFGHJLNPQRSTUWXYZ"
        area = self.rng.choice(
            [
                "B",
                "BS",
                "CB",
                "CF",
                "E",
                "EC",
                "EH",
                "G",
                "GL",
                "HG",
                "L",
                "LE",
                "LS",
                "M",
                "N",
                "NE",
                "NG",
                "NN",
                "NR",
                "OX",
                "PO",
                "RG",
                "S",
                "SE",
                "SN",
                "SW",
                "TR",
                "W",
                "WC",
                "YO",
            ]
        )
        return f"{area}{self.rng.randint(1, 29)} {self.rng.randint(1, 9)}{''.join(self.rng.choices(letters, k=2))}"

    def _house_number(self) -> str:
        number = self.rng.choice((self.rng.randint(1, 99), self.rng.randint(1, 400), self.rng.randint(100, 9999)))
        return f"{number}{self.rng.choice(('', '', '', '', '', 'a', 'B', '/2', '-3'))}"

    def _ordinal(self) -> str:
        number = self.rng.randint(1, 60)
        return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10 if number not in (11, 12, 13) else 0, 'th') }"

    def _surname_zh(self) -> str:
        common = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
        if self.rng.random() < 0.04:
            return self.rng.choice(sorted(COMPOUND_SURNAMES))
        return self.rng.choice(common) if self.rng.random() < 0.5 else self.rng.choice(sorted(SURNAMES))

    def given(self) -> str:
        """A Chinese given name of one or two characters."""
        count = 1 if self.rng.random() < 0.25 else 2
        return "".join(self._pick("given_name_characters") for _ in range(count))

    def name_zh(self) -> str:
        """A Chinese full name."""
        return self._surname_zh() + self.given()

    def call(self) -> str:
        """A Chinese surname with a title: one span, because a surname alone is one character."""
        surname = self._surname_zh()
        if self.rng.random() < 0.2:
            return self.rng.choice("小老阿") + surname
        return surname + (self.rng.choice(TITLES[:10]) if self.rng.random() < 0.6 else self.rng.choice(TITLES))

    def nick(self) -> str:
        """A Chinese given name, or a pet name."""
        roll, character = self.rng.random(), self._pick("nickname_characters")
        if roll < 0.35:
            return self.rng.choice("小小小阿") + character
        if roll < 0.5:
            return character * 2
        if roll < 0.6:
            return self.first()
        return "".join(self._pick("given_name_characters") for _ in range(2)) if roll < 0.8 else self.call()

    def person_zh(self) -> str:
        """Any of the Chinese forms."""
        return self.rng.choice((self.name_zh, self.call, self.nick))()

    def latin(self) -> str:
        """A name in Latin letters within a Chinese text."""
        return self.first() if self.rng.random() < 0.7 else self.name()

    def street_zh(self) -> str:
        """A short Chinese address, without province and city."""
        roll, number = self.rng.random(), self.rng.randint(1, 999)
        road = (
            self._pick("chinese_roads")
            + self.rng.choice(("", "", "东", "西", "南", "北", "中"))
            + self.rng.choice(("路", "路", "路", "街", "大道", "大街", "巷", "胡同"))
        )
        if roll < 0.1:
            return f"{road}{self.rng.randint(1, 99)}弄{self.rng.randint(1, 60)}号"
        if roll < 0.5:
            inner = self._inner_zh() if self.rng.random() < 0.6 else ""
            return f"{road}{self.rng.choice(('', '', '', '甲', '第'))}{number}号{inner}"
        if roll < 0.6:
            return f"{road}与{self._pick('chinese_roads')}路{self.rng.choice(('交叉口', '路口'))}"
        return self._compound_zh() + self._inner_zh()

    def address_zh(self) -> str:
        """A Chinese address."""
        roll = self.rng.random()
        if roll < 0.15:
            return self.street_zh()
        province = self._pick("provinces")
        if self.rng.random() < 0.35:
            province = province.split("省")[-1]
        if self.rng.random() < 0.3:
            province = province.replace("省", "").replace("市", "")
        district = (
            self._pick("districts")
            if self.rng.random() < 0.85
            else self._pick("chinese_roads") + self.rng.choice("县市")
        )
        if roll < 0.25:
            return district + self.street_zh()
        gap = " " if self.rng.random() < 0.08 else ""
        town = self._pick("chinese_roads") + self.rng.choice(("街道", "镇", "乡")) if self.rng.random() < 0.15 else ""
        return f"{province}{gap}{district}{gap}{town}{self.street_zh()}"

    def _compound_zh(self) -> str:
        return self._pick("compounds") + self._pick("compound_ends")

    def _inner_zh(self) -> str:
        number, room, unit = self.rng.randint(1, 30), self.rng.randint(101, 2808), self.rng.randint(1, 5)
        block = self.rng.choice("ABCD")
        base = self.rng.choice((
            f"{number}号楼{room}室", f"{number}栋{room}", f"{number}幢{unit}单元{room}室",
            f"{number}号楼{unit}单元{room}",
            f"{block}座{room}", f"{block}栋", f"{room}室", f"{number}楼", f"{number}层",
            f"{number}栋{unit}单元{number}楼{room}号", "",
        ))  # fmt: skip
        return (self._compound_zh() if self.rng.random() < 0.25 else "") + base

    def number(self) -> str:
        """A small number."""
        return str(self.rng.choice((self.rng.randint(1, 20), self.rng.randint(1, 500))))

    def year(self) -> str:
        """A year."""
        return str(self.rng.randint(1960, 2026))

    def amount(self) -> str:
        """An amount of money."""
        return f"{self.rng.choice('$£€¥')}{self.rng.randint(1, 2000)}.{self.rng.randint(0, 99):02d}"

    def amount_zh(self) -> str:
        """An amount of money in yuan."""
        return f"{self.rng.randint(1, 20000)}{self.rng.choice(('元', '块', '万'))}"

    def date(self) -> str:
        """A date."""
        day, month = self.rng.randint(1, 28), self.fill("MONTH", is_chinese=False)
        return self.rng.choice(
            (f"{day} {month} 2024", f"{month} {day}", f"{day}/{self.rng.randint(1, 12)}/2025", "2024-05-17")
        )

    def date_zh(self) -> str:
        """A date in Chinese."""
        year, day = self.rng.choice(("", "2024年", "2025年")), self.rng.randint(1, 28)
        return f"{year}{self.rng.randint(1, 12)}月{day}{self.rng.choice('日号')}"

    def time(self) -> str:
        """A time of day."""
        hour = self.rng.randint(1, 12)
        return self.rng.choice((f"{hour}:30", f"{hour} pm", f"{hour} am", f"{hour + 8}:15", "noon"))

    def time_zh(self) -> str:
        """A time of day in Chinese."""
        part, hour = self.rng.choice(("上午", "下午", "晚上", "")), self.rng.randint(1, 12)
        return f"{part}{hour}{self.rng.choice(('点', '点半', ':30'))}"

    def version(self) -> str:
        """A version number."""
        return (
            f"{self.rng.randint(1, 20)}.{self.rng.randint(0, 20)}{self.rng.choice(('', f'.{self.rng.randint(0, 9)}'))}"
        )

    def order(self) -> str:
        """An order number."""
        return self.rng.choice(("#{}", "{}", "A-{}", "ORD{}")).format(self.rng.randint(10000, 99999999))

    def phone(self) -> str:
        """A phone number, or the placeholder of a masked one."""
        digits = "".join(self.rng.choice("0123456789") for _ in range(9))
        return self.rng.choice(
            (f"+44 7{digits}", f"({digits[:3]}) {digits[3:6]}-{digits[5:]}", f"1{digits}8", f"0{digits}", "[PHONE_1]")
        )

    def email(self) -> str:
        """An e-mail address, or the placeholder of a masked one."""
        address = f"{self.rng.choice(self._first).lower()}{self.rng.randint(1, 99)}@example.com"
        return self.rng.choice((address, address, "[EMAIL_1]"))

    def _digits(self, count: int) -> str:
        return "".join(self.rng.choice("0123456789") for _ in range(count))

    def code(self) -> str:
        """A model, flight or tracking number."""
        letters = "".join(self.rng.choice("ABCDEFGHJKLMNPRSTWXZ") for _ in range(self.rng.randint(1, 3)))
        return f"{letters}{self.rng.choice(('', '-', ' '))}{self._digits(self.rng.randint(2, 12))}"

    def id(self) -> str:
        """A number of a person."""
        return self.rng.choice(
            (
                self._digits(18),
                self._digits(9),
                f"{self._digits(3)}-{self._digits(2)}-{self._digits(4)}",
                f"{self._digits(3)} {self._digits(3)} {self._digits(4)}",
                self._digits(6),
                "[ID_NUMBER_1]",
            )
        )

    def card(self) -> str:
        """A number of a payment card."""
        return self.rng.choice(
            (
                self._digits(16),
                self._digits(19),
                f"{self._digits(4)} {self._digits(4)} {self._digits(4)} {self._digits(4)}",
                "[CARD_1]",
            )
        )

    def iban(self) -> str:
        """A bank account number."""
        return self.rng.choice(
            (
                f"DE{self._digits(20)}",
                f"GB{self._digits(2)} ABCD {self._digits(4)} {self._digits(4)} {self._digits(4)} {self._digits(2)}",
                "[IBAN_1]",
            )
        )

    def plate(self) -> str:
        """A licence plate."""
        letters = self.rng.choices("ABCDEFGH", k=4)
        return f"{letters[0]}{letters[1]}{self._digits(2)} {letters[2]}{letters[3]}T"

    def plate_zh(self) -> str:
        """A Chinese licence plate."""
        letters = self.rng.choice(("", "D", "F"))
        province = self.rng.choice("京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂桂甘晋陕吉闽贵粤川琼")
        return f"{province}{self.rng.choice('ABCDEFGH')}{self.rng.choice(('', '', '·'))}{letters}{self._digits(5)}"

    def secret(self) -> str:
        """A password or a key."""
        letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
        word = "".join(self.rng.choice(letters) for _ in range(self.rng.choice((8, 10, 24, 40))))
        return self.rng.choice((word, word, f"sk-{word}", f"{word[:5]}!{word[5:7]}", self._digits(8), "[SECRET_1]"))
