"""Masks personal data in conversations.

    masker = ConversationMasker()
    masked = masker.mask(conversation)      # masked.conversation has placeholders such as [NAME_1]
    unmask(masked) == conversation

A value that was detected anywhere is masked everywhere in the conversation: in all messages, tool calls, the rejected
ending and the metadata. Detection is repeated on the masked texts until nothing more is detected, so masking a masked
conversation changes nothing.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.core.personal_data import PersonalDataDetector
from turnwise.privacy.conversation_texts import FieldText, map_texts
from turnwise.privacy.detection import CombinedDetector
from turnwise.privacy.placeholders import PlaceholderTable, restore


@dataclass(frozen=True, slots=True)
class MaskedConversation:
    """A masked conversation with what was masked.

    Attributes:
        conversation: the conversation with placeholders; it holds no detected value.
        values: values by placeholder. They are personal data: only a store that may hold them should.
        original: texts of tool-call arguments and metadata that were rewritten, by path; personal data too.
    """

    conversation: Conversation
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    original: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def counts(self) -> Counter[str]:
        """Number of different values by kind, such as {"name": 2}."""
        return Counter(placeholder[1:].rpartition("_")[0].lower() for placeholder in self.values)


class ConversationMasker:
    """Masks conversations.

    Args:
        detector: detects personal data in a text; its spans may overlap. Default: all detectors by rules and the
            tagger of names.
        public: texts that are not masked, although they look like personal data: your own name and address.
    """

    def __init__(self, detector: PersonalDataDetector | None = None, public: Collection[str] = ()) -> None:
        """Use the detector. Raises `UserError` if a library of the extra `privacy` is missing."""
        self._detector = CombinedDetector(None if detector is None else [detector], public)

    def mask(self, conversation: Conversation) -> MaskedConversation:
        """Mask a conversation. Roles, weights, ids, ratings and tools stay."""
        texts: dict[FieldText, str] = {}

        def collect(field_text: FieldText) -> str:
            return texts.setdefault(field_text, field_text.text)

        map_texts(conversation, collect)
        table = PlaceholderTable(texts.values())
        self._mask_texts(texts, table)
        masked, original = map_texts(conversation, texts.__getitem__)
        return MaskedConversation(masked, table.values, original)

    def mask_text(self, text: str, meta: Mapping[str, Any] | None = None) -> MaskedConversation:
        """Mask a text with its metadata, as a conversation of one message."""
        return self.mask(Conversation((Message("user", text),), meta or {}))

    def _mask_texts(self, texts: dict[FieldText, str], table: PlaceholderTable) -> None:
        """Mask until nothing more is detected. Every round replaces text by placeholders, so it ends."""
        changed = list(texts)
        while changed:
            before = dict(texts)
            for key in changed:
                texts[key] = self._mask_detected(key, texts[key], table)
            for key, text in texts.items():
                texts[key] = table.replace(text)
            changed = [key for key, text in texts.items() if text != before[key]]

    def _mask_detected(self, key: FieldText, text: str, table: PlaceholderTable) -> str:
        if key.is_key:
            return text
        offset = len(key.context)
        pieces, position = [], 0
        for span in sorted(self._detector.detect(key.context + text)):
            start, end = max(0, span.start - offset), span.end - offset
            if end > 0:
                pieces += [text[position:start], table.add(text[start:end], span.kind)]
                position = end
        return "".join(pieces) + text[position:]


def unmask(masked: MaskedConversation) -> Conversation:
    """The conversation before it was masked."""
    conversation, _ = map_texts(
        masked.conversation, lambda field_text: restore(field_text.text, masked.values), masked.original
    )
    return conversation
