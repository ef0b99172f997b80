"""Streamed text equals the decoded text, for all tokens and all chunks."""

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from turnwise.core.parameter_spec import MAX_STRING
from turnwise.text.streaming.detokenizer import IncrementalDetokenizer
from turnwise.text.streaming.stop_string_scanner import StopStringScanner

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


def stream(tokenizer, ids, prefix=()):
    decoder = IncrementalDetokenizer(tokenizer, prefix)
    return [*(decoder.push(id) for id in ids), decoder.flush()]


@each_kind
class TestIncrementalDetokenizer:
    @quick
    @given(text=TEXT)
    @example(text="\ufffd")
    @example(text="a\ufffd\ufffdb\ufffd")
    @example(text="🚚" * 30)
    def test_pieces_concatenate_to_the_text_and_are_complete_characters(self, tokenizer_of, kind, text):
        tokenizer = tokenizer_of(kind)
        ids = tokenizer.encode(text)
        pieces = stream(tokenizer, ids)
        assert "".join(pieces) == tokenizer.decode(ids)
        decoded, prefix = tokenizer.decode(ids), ""
        assert decoded.strip() == text.strip()
        for piece in pieces:
            prefix += piece
            assert decoded.startswith(prefix), "returned text is final, and characters are complete"

    @settings(quick, max_examples=250)
    @given(data=st.data())
    def test_pieces_of_any_ids_concatenate_to_their_decoding(self, tokenizer_of, kind, data):
        tokenizer = tokenizer_of(kind)
        bytes_only = st.integers(0, 256 + 8)  # ids of single bytes and special tokens in these vocabularies
        anything = st.integers(0, tokenizer.vocab_size - 1)
        ids = data.draw(st.lists(st.one_of(bytes_only, anything), max_size=60))
        assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)

    @quick
    @given(before=TEXT.filter(bool), text=TEXT)
    def test_the_text_of_the_prompt_is_not_returned(self, tokenizer_of, kind, before, text):
        tokenizer = tokenizer_of(kind)
        prompt, answer = tokenizer.encode(before), tokenizer.encode(text)
        decoded = tokenizer.decode([*prompt, *answer])
        assert "".join(stream(tokenizer, answer, prompt)) == decoded[len(tokenizer.decode(prompt)) :]

    def test_every_token_of_plain_text_returns_text_at_once(self, tokenizer_of, kind):
        tokenizer = tokenizer_of(kind)
        ids = tokenizer.encode("Hello, how can I help you today? The lamp in the kitchen is broken again.")
        pieces = stream(tokenizer, ids)
        assert pieces[-1] == ""
        assert sum(piece == "" for piece in pieces[:-1]) == 0

    def test_leading_spaces_survive_special_tokens_before_them(self, tokenizer_of, kind):
        tokenizer = tokenizer_of(kind)
        special = next(iter(tokenizer.special_ids))
        ids = [*tokenizer.encode("Hello"), special, special, *tokenizer.encode(" how are")]
        assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


def test_a_character_is_returned_with_its_last_token(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    ids = tokenizer.encode("𝔘𝔫𝔦")
    assert len(ids) >= 9
    pieces = stream(tokenizer, ids)
    assert [piece for piece in pieces if piece] == ["𝔘", "𝔫", "𝔦"]
    assert pieces[-1] == ""


def test_invalid_bytes_do_not_grow_the_window(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    byte = next(id for id in range(256 + 8) if tokenizer.decode([id]) == "\ufffd")
    decoder = IncrementalDetokenizer(tokenizer)
    prefix = "".join(decoder.push(byte) for _ in range(3000))
    assert prefix + decoder.flush() == "\ufffd" * 3000
    assert len(decoder._context) + len(decoder._new) < 100


STOPS = st.lists(st.text("ab。🚚", min_size=1, max_size=4), max_size=3)


@st.composite
def chunked(draw):
    text = draw(st.text("ab。🚚c", max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=10)))
    return text, [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def cut_at_first_stop(text, stops):
    """Reference: the text before the first stop string that is complete."""
    for end in range(1, len(text) + 1):
        matches = [stop for stop in stops if text[:end].endswith(stop)]
        if matches:
            return text[: end - len(max(matches, key=len))], True
    return text, False


class TestStopStringScanner:
    @settings(max_examples=500, deadline=None)
    @given(case=chunked(), stops=STOPS)
    @example(case=("abc", ["ab", "c"]), stops=["abc", "b"])
    @example(case=("aab", ["a", "a", "b"]), stops=["ab"])
    def test_returns_the_text_up_to_the_first_stop_string(self, case, stops):
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

    def test_buffered_text_that_is_no_stop_string_is_returned(self):
        scanner = StopStringScanner(["\n\nUser:"])
        assert scanner.push("Fine.\n\nUse") == "Fine."
        assert scanner.push("ful") == "\n\nUseful"
        assert scanner.push("\n\nUser") == ""
        assert scanner.flush() == "\n\nUser"
        assert not scanner.has_stopped

    def test_nothing_is_returned_after_a_stop_string(self):
        scanner = StopStringScanner(["END"])
        assert scanner.push("one END two") == "one "
        assert scanner.has_stopped
        assert scanner.push("three") == ""
        assert scanner.flush() == ""

    def test_without_stop_strings_text_is_returned_at_once(self):
        scanner = StopStringScanner(["", *()])
        assert scanner.push("abc") == "abc"
        assert scanner.flush() == ""

    def test_scanners_share_the_failure_table_of_a_stop_string(self):
        stops = ["ab" * (MAX_STRING // 2)]
        start = time.thread_time()
        for _ in range(2000):
            StopStringScanner(stops)
        assert time.thread_time() - start < 0.5

    def test_a_repetitive_stop_string_takes_linear_time(self):
        scanner = StopStringScanner(["a" * 100_000 + "b"])
        assert "".join(scanner.push("a" * 100) for _ in range(2000)) == "a" * 100_000
        assert scanner.flush() == "a" * 100_000
