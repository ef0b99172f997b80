"""`safety.yaml` and `refusals.yaml`: messages that are recognised by phrases and answered word for word.

The entry `classifier` of `safety.yaml` is described in `safety_matching`.

::

    # safety.yaml; the first line that matches is used
    chest_pain:
      phrases: {en: [chest ... hurt*|pain*], zh: [胸口 ... 疼|痛]}
      exceptions: {en: [chest of drawers]}      # a match that overlaps one does not count
      examples: {en: [there is a weight on my chest]}   # optional, for a classifier
      say: {en: Call 999 now., zh: 请立即拨打急救电话。}
      call_person: true                         # default: false

    # refusals.yaml
    discounts:
      phrases: {en: [discount*|rebate*], zh: [打折|优惠]}
      say: {en: I cannot give discounts., zh: 我不能提供折扣。}
      forbids: {en: [you get ... off], zh: [给您 ... 折]}    # phrases that no answer may have
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field

from turnwise.core.strict_model import StrictModel
from turnwise.scenarios.answer_template import AnswerTemplate
from turnwise.scenarios.field_types import Language, LocalizedLines, LocalizedText, empty_map
from turnwise.scenarios.phrases import MessageWords, Phrase, PhraseList


def _check_phrases(phrases: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    for lines in phrases.values():
        PhraseList(lines)
    return phrases


LocalizedPhrases = Annotated[LocalizedLines, AfterValidator(_check_phrases)]


class PhraseTrigger(StrictModel):
    """Recognises messages by phrases.

    Attributes:
        phrases: phrases by language. All languages are tried, because people mix them.
        exceptions: phrases whose words do not count.
        examples: messages for a classifier.
    """

    phrases: LocalizedPhrases = Field(min_length=1)
    exceptions: LocalizedPhrases = Field(default_factory=empty_map)
    examples: LocalizedLines = Field(default_factory=empty_map)

    def match(self, message: str | MessageWords) -> Phrase | None:
        """The first phrase that a message has, or None."""
        return self._phrase_list.find(message)

    def excepted_words(self, message: MessageWords) -> set[int]:
        """Positions of the words that do not count."""
        return self._phrase_list.excepted_words(message)

    @cached_property
    def _phrase_list(self) -> PhraseList:
        phrases = [line for lines in self.phrases.values() for line in lines]
        return PhraseList(phrases, [line for lines in self.exceptions.values() for line in lines])


class SafetyLine(PhraseTrigger):
    """A message that comes before everything else, such as an emergency.

    Attributes:
        phrases: see `PhraseTrigger`. A line that a classifier chooses needs none.
        say: text by language, word for word.
        call_person: True if a person is called.
    """

    say: LocalizedText
    phrases: LocalizedPhrases = Field(default_factory=empty_map)
    call_person: bool = False


class Refusal(PhraseTrigger):
    """A topic that is declined.

    Attributes:
        say: sentence by language; it may have slots whose values are facts.
        forbids: phrases that no template or example may have.
    """

    say: Mapping[Language, AnswerTemplate] = Field(min_length=1)
    forbids: LocalizedPhrases = Field(default_factory=empty_map)
