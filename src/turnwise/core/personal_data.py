"""Spans of personal data in a text, and the port of the detectors."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

PersonalDataKind = Literal[
    "account", "address", "birth_date", "card", "company_id", "email", "iban", "id_number", "ip", "name", "passport",
    "phone", "plate", "secret", "url",
]  # fmt: skip
PERSONAL_DATA_KINDS: tuple[PersonalDataKind, ...] = get_args(PersonalDataKind)


@dataclass(frozen=True, slots=True, order=True)
class PersonalSpan:
    """A span of personal data, in characters of the text (Unicode code points).

    Attributes:
        start: index of the first character.
        end: index after the last one.
        kind: what it is.
    """

    start: int
    end: int
    kind: PersonalDataKind


class PersonalDataDetector(Protocol):
    """Detects personal data of one or more kinds. Modules of `privacy/detectors/` keep this contract too."""

    def detect(self, text: str) -> Iterable[PersonalSpan]:
        """Spans of personal data in any order; they may overlap."""
