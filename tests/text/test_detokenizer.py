"""Streamed text is the whole text, whatever it is made of and however it is cut."""

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from turnwise.core.parameter_spec import MAX_STRING
from turnwise.text.streaming.detokenizer import IncrementalDetokenizer, StopStringScanner

KINDS = ["turnwise", "chatml", "sentencepiece", "sentencepiece-legacy"]
each_kind = pytest.mark.parametrize("kind", KINDS)
quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(
            [
                "Hello",
                " ",
                "你好",
                "天",
                "🚚",
                "👍🏽",
                "👨\u200d👩\u200d👧",
                "e\u0301",
                "\n",
                "नमस्ते",
                "\ufffd",
                "!",
                "  ",
            ]
        )
    ).map("".join),
)


def pieces_of(tokenizer, ids, prefix=()):
    decoder = IncrementalDetokenizer(tokenizer, prefix)
    return [*(decoder.push(id) for id in ids), decoder.flush()]


@each_kind
class TestStreamDecoder:
    @quick
    @given(text=TEXT)
    @example(text="\ufffd")
    @example(text="a\ufffd\ufffdb\ufffd")
    @example(text="🚚" * 30)
    def test_a_text_comes_out_whole_and_in_whole_characters(self, tokenizer_of, kind, text):
        tokenizer = tokenizer_of(kind)
        ids = tokenizer.encode(text)
        pieces = pieces_of(tokenizer, ids)
        assert "".join(pieces) == tokenizer.decode(ids)
        said, sofar = tokenizer.decode(ids), ""
        assert said.strip() == text.strip()
        for piece in pieces:
            sofar += piece
            assert said.startswith(sofar), "what is out stays out, and no character came in halves"

    @settings(quick, max_examples=250)
    @given(data=st.data())
    def test_any_ids_come_out_as_all_of_them_decode(self, tokenizer_of, kind, data):
        tokenizer = tokenizer_of(kind)
        bytes_only = st.integers(0, 256 + 8)  # where these vocabularies keep single bytes and special tokens
        anything = st.integers(0, tokenizer.vocab_size - 1)
        ids = data.draw(st.lists(st.one_of(bytes_only, anything), max_size=60))
        assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)

    @quick
    @given(before=TEXT.filter(bool), text=TEXT)
    def test_after_a_prompt_only_the_answer_comes_out(self, tokenizer_of, kind, before, text):
        tokenizer = tokenizer_of(kind)
        prompt, answer = tokenizer.encode(before), tokenizer.encode(text)
        whole = tokenizer.decode([*prompt, *answer])
        assert "".join(pieces_of(tokenizer, answer, prompt)) == whole[len(tokenizer.decode(prompt)) :]

    def test_text_flows(self, tokenizer_of, kind):
        """Nothing is held back but what a later id can change."""
        tokenizer = tokenizer_of(kind)
        ids = tokenizer.encode("Hello, how can I help you today? The lamp in the kitchen is broken again.")
        pieces = pieces_of(tokenizer, ids)
        assert pieces[-1] == ""
        assert sum(piece == "" for piece in pieces[:-1]) == 0

    def test_leading_spaces_of_words_survive_special_tokens_between(self, tokenizer_of, kind):
        tokenizer = tokenizer_of(kind)
        special = next(iter(tokenizer.special_ids))
        ids = [*tokenizer.encode("Hello"), special, special, *tokenizer.encode(" how are")]
        assert "".join(pieces_of(tokenizer, ids)) == tokenizer.decode(ids)


def test_characters_of_many_tokens_come_out_as_soon_as_they_are_whole(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    ids = tokenizer.encode("𝔘𝔫𝔦")
    assert len(ids) >= 9
    pieces = pieces_of(tokenizer, ids)
    assert [piece for piece in pieces if piece] == ["𝔘", "𝔫", "𝔦"]
    assert pieces[-1] == ""


def test_stray_bytes_do_not_make_it_slow(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    byte = next(id for id in range(256 + 8) if tokenizer.decode([id]) == "\ufffd")
    decoder = IncrementalDetokenizer(tokenizer)
    sofar = "".join(decoder.push(byte) for _ in range(3000))
    assert sofar + decoder.flush() == "\ufffd" * 3000
    assert len(decoder._context) + len(decoder._new) < 100


STOPS = st.lists(st.text("ab。🚚", min_size=1, max_size=4), max_size=3)


@st.composite
def chunked(draw):
    text = draw(st.text("ab。🚚c", max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=10)))
    return text, [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def cut_at_first_stop(text, stops):
    """By definition: the first place at which some stop string is complete."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - len(max(found, key=len))], True
    return text, False


class TestStopScanner:
    @settings(max_examples=500, deadline=None)
    @given(case=chunked(), stops=STOPS)
    @example(case=("abc", ["ab", "c"]), stops=["abc", "b"])
    @example(case=("aab", ["a", "a", "b"]), stops=["ab"])
    def test_what_comes_out_is_the_text_up_to_the_first_stop(self, case, stops):
        text, chunks = case
        scanner = StopStringScanner(stops)
        pieces = []
        for chunk in chunks:
            pieces.append(scanner.push(chunk))
            certain = "".join(pieces)
            assert cut_at_first_stop(text, stops)[0].startswith(certain)
            assert not any(stop in certain for stop in stops)
        pieces.append(scanner.flush())
        assert ("".join(pieces), scanner.has_stopped) == cut_at_first_stop(text, stops)

    def test_what_was_held_back_in_vain_is_not_lost(self):
        scanner = StopStringScanner(["\n\nUser:"])
        assert scanner.push("Fine.\n\nUse") == "Fine."
        assert scanner.push("ful") == "\n\nUseful"
        assert scanner.push("\n\nUser") == ""
        assert scanner.flush() == "\n\nUser"
        assert not scanner.has_stopped

    def test_after_a_stop_nothing_comes_out(self):
        scanner = StopStringScanner(["END"])
        assert scanner.push("one END two") == "one "
        assert scanner.has_stopped
        assert scanner.push("three") == ""
        assert scanner.flush() == ""

    def test_without_stops_all_passes_at_once(self):
        scanner = StopStringScanner(["", *()])
        assert scanner.push("abc") == "abc"
        assert scanner.flush() == ""

    def test_the_answers_of_a_request_share_the_table_of_a_stop_string(self):
        stops = ["ab" * (MAX_STRING // 2)]
        began = time.thread_time()
        for _ in range(2000):
            StopStringScanner(stops)
        assert time.thread_time() - began < 0.5

    def test_a_spiteful_stop_string_does_not_make_it_slow(self):
        scanner = StopStringScanner(["a" * 100_000 + "b"])
        assert "".join(scanner.push("a" * 100) for _ in range(2000)) == "a" * 100_000
        assert scanner.flush() == "a" * 100_000
