"""Masking of conversations: consistent placeholders, nothing survives, and it can be undone."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.messages import Conversation, Message, ToolCall
from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.conversation_texts import MAX_DEPTH
from turnwise.privacy.detection import CombinedDetector, resolve_overlaps
from turnwise.privacy.detectors import load_detectors
from turnwise.privacy.masking import ConversationMasker, unmask

NAMES = ("Ann", "Ann Lee", "Lee", "周雨桐", "王女士")


class NameListDetector:
    """Detects names of a list, in place of the trained tagger."""

    def detect(self, text):
        for match in re.finditer("|".join(sorted(NAMES, key=len, reverse=True)), text):
            yield PersonalSpan(*match.span(), "name")


@pytest.fixture(scope="module")
def masker():
    return ConversationMasker(CombinedDetector([*load_detectors(), NameListDetector()]))


def dialogue(*texts, **fields):
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)), **fields)


def contents(masked):
    return [message.content for message in masked.conversation.messages]


def test_a_value_has_one_placeholder_in_all_turns(masker):
    masked = masker.mask(dialogue("I am Ann Lee, 13812345678", "Hello Ann Lee", "is 13812345678 right?"))
    assert contents(masked) == ["I am [NAME_1], [PHONE_1]", "Hello [NAME_1]", "is [PHONE_1] right?"]
    assert masked.values == {"[NAME_1]": "Ann Lee", "[PHONE_1]": "13812345678"}
    assert masked.counts == {"name": 1, "phone": 1}


def test_a_value_is_masked_where_no_context_announces_it(masker):
    masked = masker.mask(dialogue("X9K2 it says", "Is that all?", "my order number is X9K2"))
    assert contents(masked)[0] == "[ACCOUNT_1] it says"


def test_a_value_within_a_longer_word_stays(masker):
    masked = masker.mask(dialogue("the pin is 4471", "44710 is another number, 4471 is not"))
    assert contents(masked)[1] == "44710 is another number, [SECRET_1] is not"


@pytest.mark.parametrize("text", ["Ask ann lee in the shop.", "店里有周雨桐。"])
def test_a_public_text_stays(text):
    masker = ConversationMasker(NameListDetector(), public=["Ann Lee", "周雨桐"])
    assert contents(masker.mask(dialogue(text))) == [text]


def test_what_a_value_has_beyond_a_public_text_is_masked():
    masker = ConversationMasker(NameListDetector(), public=["Ann"])
    assert contents(masker.mask(dialogue("Ask Ann Lee."))) == ["Ask Ann [NAME_1]."]
    assert contents(masker.mask(dialogue("Ask Ann."))) == ["Ask Ann."]


def test_a_part_of_a_name_is_masked_alone():
    class FullNameDetector:
        def detect(self, text):
            yield from (PersonalSpan(*match.span(), "name") for match in re.finditer("Margaret Oduya|周雨桐", text))

    masker = ConversationMasker(FullNameDetector())
    masked = masker.mask(dialogue("Margaret Oduya here", "Hi Margaret", "周雨桐", "雨桐你好"))
    assert contents(masked) == ["[NAME_1] here", "Hi [NAME_3]", "[NAME_2]", "[NAME_4]你好"]
    assert "Oduya" not in masked.values.values()  # the surname does not occur alone


def test_values_in_tool_calls_are_masked_as_json(masker):
    arguments = '{"to": "Ann", "phone": 13812345678, "note": "\\u5468\\u96e8\\u6850 \\"quoted\\"", "count": 2}'
    call = ToolCall("call_1", "send", arguments)
    conversation = Conversation((Message("user", "for Ann"), Message("assistant", "", tool_calls=(call,))))
    masked = masker.mask(conversation)
    changed = masked.conversation.messages[1].tool_calls[0]
    assert json.loads(changed.arguments) == {
        "to": "[NAME_1]", "phone": "[PHONE_1]", "note": '[NAME_2] "quoted"', "count": 2,
    }  # fmt: skip
    assert (changed.id, changed.name) == ("call_1", "send")
    assert unmask(masked) == conversation


def test_values_in_deeply_nested_arguments_and_metadata_are_masked_as_text(masker):
    deep = "13812345678"
    for _ in range(MAX_DEPTH + 3):
        deep = {"a": deep}
    call = ToolCall("call_1", "send", json.dumps(deep))
    conversation = Conversation((Message("assistant", "", tool_calls=(call,)),), meta={"order": deep})
    masked = masker.mask(conversation)
    assert "13812345678" not in masked.conversation.messages[0].tool_calls[0].arguments
    assert "13812345678" not in str(masked.conversation.meta)
    assert unmask(masked) == conversation


def test_spans_of_a_detector_may_overlap():
    class OverlappingDetector:
        def detect(self, text):
            yield PersonalSpan(0, 7, "name")
            yield PersonalSpan(4, 7, "account")

    masked = ConversationMasker(OverlappingDetector()).mask(dialogue("Ann Lee is here"))
    assert contents(masked) == ["[NAME_1] is here"]


def test_the_rejected_ending_and_the_metadata_are_masked_too(masker):
    conversation = dialogue(
        "I am Ann", "Hi", rejected=(Message("user", "I am Ann"), Message("assistant", "Hi Ann")),
        meta={"customer": {"name": "Ann", "tags": ["vip", "Lee"]}, "turns": 2},
    )  # fmt: skip
    masked = masker.mask(conversation)
    assert [message.content for message in masked.conversation.rejected] == ["I am [NAME_1]", "Hi [NAME_1]"]
    assert masked.conversation.meta == {"customer": {"name": "[NAME_1]", "tags": ["vip", "[NAME_2]"]}, "turns": 2}
    assert unmask(masked) == conversation


def test_placeholders_of_the_text_stay_and_are_not_assigned_again(masker):
    conversation = dialogue("write [NAME_1] for Ann")
    masked = masker.mask(conversation)
    assert contents(masked) == ["write [NAME_1] for [NAME_2]"]
    assert unmask(masked) == conversation


def test_what_one_detector_leaves_of_a_longer_span_is_masked_too():
    text = "Ann Lee ann@example.com"
    spans = resolve_overlaps(text, [PersonalSpan(0, len(text), "name"), PersonalSpan(8, len(text), "email")])
    assert spans == [PersonalSpan(0, 7, "name"), PersonalSpan(8, len(text), "email")]


def test_a_conversation_without_personal_data_is_unchanged(masker):
    conversation = dialogue("Where is my parcel?", "On its way.", meta={"id": 7})
    masked = masker.mask(conversation)
    assert masked.conversation == conversation
    assert not masked.values
    assert not masked.original


def test_the_values_are_not_in_the_representation(masker):
    assert "13812345678" not in repr(masker.mask(dialogue("call 13812345678", meta={"phone": "13812345678"})))


PIECES = st.sampled_from(
    [
        *NAMES, "13812345678", "ann@example.com", "4111 1111 1111 1111", "my order number is A-1234", "[NAME_1]",
        "[PHONE_7]", "the pin is 4471", "4471", "A-1234", "密码是Abc@12345", " ", ", ", "。", "\n", "[", "]", "[NAME_",
        "_1]", "x", "您好", "hello ",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=8).map("".join)
CALLS = st.builds(
    ToolCall, st.just("c"), st.just("f"), st.one_of(TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2).map(json.dumps)),
    st.sampled_from(["function", "custom"]),
)  # fmt: skip
MESSAGES = st.builds(
    Message, st.sampled_from(["system", "user", "assistant", "tool"]), TEXTS, name=st.one_of(st.none(), TEXTS),
    tool_calls=st.lists(CALLS, max_size=2).map(tuple), pinned=st.booleans(), weight=st.sampled_from([0.0, 1.0]),
)  # fmt: skip
CONVERSATIONS = st.builds(
    Conversation, st.lists(MESSAGES, min_size=1, max_size=4).map(tuple),
    meta=st.dictionaries(st.sampled_from(["name", "note"]), st.one_of(TEXTS, st.integers(0, 10**12)), max_size=2),
)  # fmt: skip


@pytest.mark.costly
@given(CONVERSATIONS)
def test_unmask_undoes_mask(masker, conversation):
    assert unmask(masker.mask(conversation)) == conversation


@pytest.mark.costly
@given(CONVERSATIONS)
def test_masking_a_masked_conversation_changes_nothing(masker, conversation):
    masked = masker.mask(conversation).conversation
    assert masker.mask(masked).conversation == masked


@pytest.mark.costly
@given(CONVERSATIONS)
def test_no_detected_value_survives(masker, conversation):
    masked = masker.mask(conversation)
    for message in masked.conversation.messages:
        for text in (message.content, *(call.arguments for call in message.tool_calls)):
            bare = re.sub(r"\[[A-Z_]+_\d+\]", "\0", text)
            for value in masked.values.values():
                assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", bare)


@pytest.mark.costly
@given(CONVERSATIONS)
def test_all_but_the_texts_stays(masker, conversation):
    masked = masker.mask(conversation).conversation
    for before, after in zip(conversation.messages, masked.messages, strict=True):
        assert (before.role, before.weight, before.pinned) == (after.role, after.weight, after.pinned)
        assert [(c.id, c.name, c.kind) for c in before.tool_calls] == [(c.id, c.name, c.kind) for c in after.tool_calls]
