"""Addresses in Latin letters, in the styles of many countries."""

import random

from word_lists import ENGLISH_LOCALES, ENGLISH_SLOTS, fakers, latin_names, word_list

APARTMENTS = (
    "Apt {n}", "Apt. {n}", "apt {n}b", "Flat {n}", "Unit {n}", "Suite {n}00", "#{n}", "Floor {n}", "Apartment {n}",
)  # fmt: skip
ASIAN_AREAS = (
    "Nagar", "Layout", "Colony", "Vihar", "Enclave", "Sector 12", "Phase 2", "4th Block", "Gardens", "Estate",
)  # fmt: skip


class LatinAddresses:
    """Draws addresses.

    Args:
        rng: source of random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.last_names = latin_names()[1]

    def street(self) -> str:
        """House number and street."""
        number = self._house_number()
        street = f"{self._word('streets')} {self._word('street_types')}"
        if self.rng.random() < 0.2:
            street = f"{self._word('streets')} {street}"
        if self.rng.random() < 0.15:
            street = (
                f"{self.rng.choice('NSEW')}{self.rng.choice(('', '.'))} {self._ordinal()} {self._word('street_types')}"
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
        inner = self.rng.choice(APARTMENTS).format(n=self.rng.randint(1, 60))
        street, postcode = self.street(), self._postcode()
        if roll < 0.25:
            return self.street() if self.rng.random() < 0.5 else f"{street}, {city}"
        if roll < 0.45:  # North America, Australia
            state = self._word("states")
            optional = [inner] if self.rng.random() < 0.35 else []
            parts = [street, *optional, city, f"{state} {self.rng.randint(10000, 99999)}"]
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
        address: str = fakers()[locale].address()
        return address if self.rng.random() < 0.5 else address.replace("\n", ", ")

    def _asian(self, city: str) -> str:
        before = self.rng.choice(("No. ", "House ", "Plot ", "Block ", "", "Flat "))
        road = self.rng.choice(
            (
                f"{self._ordinal()} Cross",
                "MG Road",
                f"Road {self.rng.randint(1, 30)}",
                f"Jalan {self.rng.choice(self.last_names)}",
            )
        )
        area = f"{self.rng.choice(self.last_names)} {self.rng.choice(ASIAN_AREAS)}"
        return f"{before}{self._house_number()}, {road}, {area}, {city} {self.rng.randint(100000, 999999)}"

    def _european(self, city: str) -> str:
        last, number, code = self.rng.choice(self.last_names), self._house_number(), self.rng.randint(1000, 99999)
        word = self._word("streets").replace("'", "")
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
                f", {code} {city}, {self.rng.choice(ENGLISH_SLOTS['COUNTRY'])}",
            )
        )
        return street + tail

    def _city(self) -> str:
        if self.rng.random() < 0.5:
            return self.rng.choice(ENGLISH_SLOTS["CITY"])
        stem = self._word("streets").replace("'", "").lower()
        return (
            stem
            + self.rng.choice(
                ("ton", "ville", "field", "ham", "bury", "ford", "port", "burg", "stadt", "wick", " Falls", " Springs")
            )
        ).capitalize()

    def _postcode(self) -> str:
        letters = "ABDEFGHJLNPQRSTUWXYZ"
        area = self._word("postcode_areas")
        return f"{area}{self.rng.randint(1, 29)} {self.rng.randint(1, 9)}{''.join(self.rng.choices(letters, k=2))}"

    def _house_number(self) -> str:
        number = self.rng.choice((self.rng.randint(1, 99), self.rng.randint(1, 400), self.rng.randint(100, 9999)))
        return f"{number}{self.rng.choice(('', '', '', '', '', 'a', 'B', '/2', '-3'))}"

    def _ordinal(self) -> str:
        number = self.rng.randint(1, 60)
        return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10 if number not in (11, 12, 13) else 0, 'th') }"

    def _word(self, name: str) -> str:
        return self.rng.choice(word_list(name))
