"""Words that fill the slots of the templates: the lists of `words.yaml`, and names of the locales of Faker."""

from functools import cache
from pathlib import Path
from typing import Any

from faker import Faker

from turnwise.core.strict_yaml import read_yaml

ENGLISH_LOCALES = (
    "en_US", "en_GB", "en_IN", "en_US", "en_GB", "es_ES", "de_DE", "fr_FR", "it_IT", "nl_NL", "sv_SE", "tr_TR", "pt_BR",
    "en_KE", "id_ID", "pl_PL", "en_NG",
)  # fmt: skip
_WORDS: dict[str, Any] = read_yaml(Path(__file__).with_name("words.yaml"), "words")
ENGLISH_SLOTS, CHINESE_SLOTS = (
    {slot: [value.strip() for value in values.split("|")] for slot, values in _WORDS[name].items()}
    for name in ("english_slots", "chinese_slots")
)


@cache
def word_list(name: str) -> list[str]:
    """The words of a list of `words.yaml`."""
    words: list[str] = _WORDS[name].split()
    return words


@cache
def fakers() -> dict[str, Faker]:
    """A seeded Faker for each locale."""
    fakers = {locale: Faker(locale) for locale in dict.fromkeys(ENGLISH_LOCALES)}  # a set has another order each time
    for index, faker in enumerate(fakers.values()):
        faker.seed_instance(index)
    return fakers


@cache
def latin_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Given names and surnames of one word, from the locales of Faker and our lists."""
    first, last = set(word_list("first_names")), set(word_list("last_names"))
    for faker in fakers().values():
        provider = next(entry for entry in faker.get_providers() if "person" in type(entry).__module__)
        for target, attribute in ((first, "first_names"), (last, "last_names")):
            target |= {name for name in getattr(provider, attribute, ()) if name.replace("'", "").isalpha()}
    return tuple(sorted(first)), tuple(sorted(last))
