"""Names in Latin letters, of many countries."""

import random

from word_lists import latin_names, word_list


class LatinNames:
    """Draws names.

    Args:
        rng: source of random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.first_names, self.last_names = latin_names()

    def first(self) -> str:
        """A given name; sometimes one that was made up, so that context counts."""
        roll = self.rng.random()
        if roll < 0.15:
            return self.rng.choice(word_list("first_names"))
        if roll < 0.25:
            return self._made_up()
        return self.rng.choice(self.first_names)

    def last(self) -> str:
        """A surname."""
        roll = self.rng.random()
        if roll < 0.06:
            return f"{self.rng.choice(self.last_names)}-{self.rng.choice(self.last_names)}"
        if roll < 0.16:
            return self._made_up() + self.rng.choice(("", "son", "ski", "ova", "ini", "berg", "well", "wick", "worth"))
        if roll < 0.20:
            particle = self.rng.choice(("de", "van", "van der", "de la", "von", "al-", "El-", "bin", "da", "Mc", "O'"))
            return particle + ("" if particle[-1] in "-c'" else " ") + self.rng.choice(self.last_names)
        return self.rng.choice(word_list("last_names") if roll < 0.4 else self.last_names)

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
            return f"{first} {last} {self.rng.choice(self.last_names)}"
        return f"{first} {last}"

    def person(self) -> str:
        """A given or a full name."""
        return self.first() if self.rng.random() < 0.5 else self.name()

    def latin(self) -> str:
        """A name in Latin letters within a Chinese text."""
        return self.first() if self.rng.random() < 0.7 else self.name()

    def _made_up(self) -> str:
        starts = word_list("syllable_starts")
        syllables = "".join(self.rng.choice(starts) + self.rng.choice("aeiou") for _ in range(self.rng.randint(1, 3)))
        return (syllables + self.rng.choice(("", "n", "r", "l", "s", "m", "th", "na", "ko"))).capitalize()
