"""`facts.yaml`: values of the business, each declared once.

::

    return_days: {en: 30 days, zh: 30天}
    phone: "+44 20 7946 0182"                       # the same in all languages
    express_price:
      value: {en: £6.90, zh: 6.90英镑}
      terms: {en: [express], zh: [加急]}             # a sentence with a term states this value or none of its unit
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.strict_model import StrictModel
from turnwise.scenarios.field_types import Language, LocalizedLine, LocalizedLines, empty_map, localize
from turnwise.scenarios.phrases import PhraseList

ANY_LANGUAGE = "und"  # BCP 47: undetermined


def _check_terms(terms: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    for lines in terms.values():
        PhraseList(lines)
    return terms


class Fact(StrictModel):
    """A value by language, and the terms of sentences that are about it (phrases, see `phrases.py`)."""

    value: LocalizedLine
    terms: Annotated[LocalizedLines, Field(max_length=50), AfterValidator(_check_terms)] = Field(
        default_factory=empty_map
    )

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        """A text, or texts by language, stand for `value`."""
        if isinstance(value, str):
            return {"value": {ANY_LANGUAGE: value}}
        if isinstance(value, bool | int | float):
            raise InvalidParameter("value", f"YAML reads {value!r} as a number; quote the value of a fact.")
        if isinstance(value, dict) and "value" not in value:
            return {"value": value}
        if isinstance(value, dict) and isinstance(value["value"], str):
            return {**value, "value": {ANY_LANGUAGE: value["value"]}}
        return value

    def text(self, language: Language, default_language: Language) -> str:
        """The value in a language."""
        return localize(self.value, language, default_language)
