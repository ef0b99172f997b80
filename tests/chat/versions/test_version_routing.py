"""Which version answers: a share of the conversations, each of which keeps its version."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from turnwise.chat.versions.version_routing import (
    choose_version,
    conversation_key,
    hash_fraction,
    is_canary_conversation,
    last_reference,
)
from turnwise.core.access import Principal
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import ModelNotFound
from turnwise.core.messages import Message
from turnwise.core.model_versions import ModelVersion, NewVersion, VersionRouting
from turnwise.core.stored_messages import StoredMessage


def version(number, state="serving", share=0.0):
    return ModelVersion(number, 0.0, state, NewVersion("shop", f"folder{number}", f"digest{number}"), share)


def routing(share=None):
    return VersionRouting(1, version(1), None if share is None else version(2, "canary", share))


def request(*texts, **fields):
    return ChatRequest(messages=tuple(Message("user", text) for text in texts), **fields)


class TestKeys:
    def test_a_stored_conversation_is_identified_by_its_id(self):
        first, second = request("Hello", conversation_id="c1"), request("Bye", conversation_id="c1")
        assert conversation_key(first, "ann") == conversation_key(second, None)

    def test_others_are_identified_by_key_user_and_first_user_message(self):
        base = request("Hello", principal=Principal("shop", "user"))
        longer = replace(base, messages=(*base.messages, Message("assistant", "Hi"), Message("user", "More")))
        assert conversation_key(base, "ann") == conversation_key(longer, "ann")
        others = [
            conversation_key(base, "ben"),
            conversation_key(request("Bye", principal=base.principal), "ann"),
            conversation_key(request("Hello", principal=Principal("bank", "user")), "ann"),
        ]
        assert len({conversation_key(base, "ann"), *others}) == 4

    def test_a_system_message_does_not_identify_a_conversation(self):
        system = Message("system", "You are kind.")
        with_system = ChatRequest(messages=(system, Message("user", "Hello")))
        assert conversation_key(with_system, None) == conversation_key(request("Hello"), None)

    @given(st.text(), st.text(), st.text(), st.text())
    def test_user_and_message_are_kept_apart(self, user, text, user2, text2):
        assume((user, text) != (user2, text2))
        assert conversation_key(request(text), user) != conversation_key(request(text2), user2)

    def test_texts_that_are_continued_have_keys(self):
        prompts = ["Once", "Twice", (1, 2), (1, 3)]
        assert len({conversation_key(ChatRequest(prompt=prompt), None) for prompt in prompts}) == 4


class TestShares:
    @given(st.text(), st.text())
    def test_fractions_are_numbers_from_zero_to_one(self, salt, key):
        assert 0 <= hash_fraction(salt, key) < 1
        assert hash_fraction(salt, key) == hash_fraction(salt, key)

    @given(st.text(), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
    def test_a_larger_share_only_adds_conversations(self, key, share, more):
        share, more = sorted((share, more))
        assert is_canary_conversation(routing(share), key) <= is_canary_conversation(routing(more), key)

    def test_the_share_is_that_of_the_conversations(self):
        count = sum(is_canary_conversation(routing(0.1), str(number)) for number in range(20_000))
        assert 1_850 < count < 2_150  # three standard deviations and a half

    def test_the_next_canary_gets_other_conversations(self):
        first, second = (
            {
                number
                for number in range(5_000)
                if is_canary_conversation(VersionRouting(1, version(1), version(canary, "canary", 0.1)), str(number))
            }
            for canary in (2, 3)
        )
        assert len(first & second) < 100  # 50 by chance


class TestChoices:
    def test_without_a_canary_the_serving_version_answers(self):
        for selector in ("routed", "stable", 1):
            assert choose_version(routing(), selector, "key").number == 1

    def test_stable_and_numbers_name_versions(self):
        chosen = {name: choose_version(routing(0.5), name, "key").number for name in ("stable", 1, 2)}
        assert chosen == {"stable": 1, 1: 1, 2: 2}

    def test_a_version_that_does_not_answer_is_an_error_that_names_those_that_do(self):
        with pytest.raises(ModelNotFound, match=r"shop@7 does not answer here now. Live: shop@1 and shop@2."):
            choose_version(routing(0.5), 7, "key")

    def test_nobody_can_name_the_shadow(self):
        with pytest.raises(ModelNotFound):
            choose_version(VersionRouting(1, version(1), None, version(3, "shadow")), 3, "key")

    @given(st.text(), st.floats(0.01, 0.99))
    def test_a_stored_conversation_stays_with_the_version_of_its_last_answer(self, key, share):
        assert choose_version(routing(share), "routed", key, "shop@1").number == 1
        assert choose_version(routing(share), "routed", key, "shop@2").number == 2
        by_hash = choose_version(routing(share), "routed", key)
        assert choose_version(routing(share), "routed", key, "shop@9") == by_hash  # it is not live any more

    def test_only_routed_requests_are_a_fair_sample(self):
        compared = {name: choose_version(routing(0.5), name, "k").is_compared for name in ("routed", "stable", 2)}
        assert compared == {"routed": True, "stable": False, 2: False}


def test_the_last_answer_decides_and_answers_without_a_version_are_skipped():
    def stored(role, meta):
        return StoredMessage("m", 0.0, Message(role, "text"), meta)

    first, second = stored("assistant", {"version": "shop@1"}), stored("assistant", {"version": "shop@2"})
    assert last_reference([first, stored("user", {}), second, stored("user", {})], "version") == "shop@2"
    assert last_reference([first, stored("assistant", {})], "version") == "shop@1"
    assert last_reference([stored("user", {"version": "shop@1"})], "version") is None
