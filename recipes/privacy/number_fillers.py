"""Numbers, dates, codes and other values without names. Those of people may be placeholders of masked ones."""

import random

from word_lists import ENGLISH_SLOTS, latin_names


def digits(rng: random.Random, count: int) -> str:
    """Random digits."""
    return "".join(rng.choice("0123456789") for _ in range(count))


class NumberFillers:
    """Draws numbers.

    Args:
        rng: source of random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._first_names = latin_names()[0]

    def number(self) -> str:
        """A small number."""
        return str(self.rng.choice((self.rng.randint(1, 20), self.rng.randint(1, 500))))

    def year(self) -> str:
        """A year."""
        return str(self.rng.randint(1960, 2026))

    def amount(self) -> str:
        """An amount of money."""
        return f"{self.rng.choice('$£€¥')}{self.rng.randint(1, 2000)}.{self.rng.randint(0, 99):02d}"

    def date(self) -> str:
        """A date."""
        day, month = self.rng.randint(1, 28), self.rng.choice(ENGLISH_SLOTS["MONTH"])
        return self.rng.choice(
            (f"{day} {month} 2024", f"{month} {day}", f"{day}/{self.rng.randint(1, 12)}/2025", "2024-05-17")
        )

    def time(self) -> str:
        """A time of day."""
        hour = self.rng.randint(1, 12)
        return self.rng.choice((f"{hour}:30", f"{hour} pm", f"{hour} am", f"{hour + 8}:15", "noon"))

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
        number = digits(self.rng, 9)
        return self.rng.choice(
            (f"+44 7{number}", f"({number[:3]}) {number[3:6]}-{number[5:]}", f"1{number}8", f"0{number}", "[PHONE_1]")
        )

    def email(self) -> str:
        """An e-mail address, or the placeholder of a masked one."""
        address = f"{self.rng.choice(self._first_names).lower()}{self.rng.randint(1, 99)}@example.com"
        return self.rng.choice((address, address, "[EMAIL_1]"))

    def code(self) -> str:
        """A model, flight or tracking number."""
        letters = "".join(self.rng.choice("ABCDEFGHJKLMNPRSTWXZ") for _ in range(self.rng.randint(1, 3)))
        return f"{letters}{self.rng.choice(('', '-', ' '))}{digits(self.rng, self.rng.randint(2, 12))}"

    def id(self) -> str:
        """A number of a person."""
        groups = (self._groups(18), self._groups(9), self._groups(3, 2, 4, separator="-"), self._groups(3, 3, 4))
        return self.rng.choice((*groups, self._groups(6), "[ID_NUMBER_1]"))

    def card(self) -> str:
        """A number of a payment card."""
        return self.rng.choice((self._groups(16), self._groups(19), self._groups(4, 4, 4, 4), "[CARD_1]"))

    def iban(self) -> str:
        """A bank account number."""
        german, british = f"DE{self._groups(20)}", f"GB{self._groups(2)} ABCD {self._groups(4, 4, 4, 2)}"
        return self.rng.choice((german, british, "[IBAN_1]"))

    def _groups(self, *sizes: int, separator: str = " ") -> str:
        """Groups of random digits."""
        return separator.join(digits(self.rng, size) for size in sizes)

    def plate(self) -> str:
        """A licence plate."""
        letters = self.rng.choices("ABCDEFGH", k=4)
        return f"{letters[0]}{letters[1]}{digits(self.rng, 2)} {letters[2]}{letters[3]}T"

    def secret(self) -> str:
        """A password or a key."""
        letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
        word = "".join(self.rng.choice(letters) for _ in range(self.rng.choice((8, 10, 24, 40))))
        return self.rng.choice((word, word, f"sk-{word}", f"{word[:5]}!{word[5:7]}", digits(self.rng, 8), "[SECRET_1]"))
