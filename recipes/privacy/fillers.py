"""Values for the slots of the templates: names and addresses of several countries from Faker and lists of ours."""

import random
from collections.abc import Callable

from chinese_fillers import ChineseFillers
from latin_addresses import LatinAddresses
from latin_names import LatinNames
from number_fillers import NumberFillers
from word_lists import CHINESE_SLOTS, ENGLISH_SLOTS


class Fillers:
    """Draws values of slots.

    Args:
        rng: source of random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        names = LatinNames(rng)
        self._chinese = ChineseFillers(rng, names)
        self._latin = (names, LatinAddresses(rng), NumberFillers(rng))

    def fill(self, slot: str, *, is_chinese: bool) -> str:
        """A value of a slot. Raises `AttributeError` for an unknown slot."""
        options = (CHINESE_SLOTS if is_chinese else ENGLISH_SLOTS).get(slot)
        if options is not None:
            return self.rng.choice(options)
        order = (self._chinese, *self._latin) if is_chinese else (*self._latin, self._chinese)
        fillers = next((fillers for fillers in order if hasattr(fillers, slot.lower())), self)
        value: Callable[[], str] = getattr(fillers, slot.lower())
        return value()
