"""The tagger of names and addresses: tokens, features, decoding, its files, and the one that comes with the package."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from turnwise.core.errors import UserError
from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.name_tagger import (
    MAX_TOKENS,
    load_bundled_tagger,
    read_tagger,
    spans_of_tags,
    tags_of_spans,
)  # fmt: skip
from turnwise.privacy.tagger_features import WordLists, feature_names, token_features, tokenize, word_hash

BUCKETS = 1 << 12
TAGS = ["O", "B-NAME", "I-NAME"]


@pytest.fixture
def tagger_folder(tmp_path):
    """Writes a tagger that takes every word of the list of given names, here "ann" and "lee", for a name."""

    def write(**settings):
        lists = WordLists({word_hash("ann"), word_hash("lee")}, set(), set())
        weight = np.zeros((BUCKETS, len(TAGS)), dtype=np.int8)
        (row,) = token_features(["ann"], lists, BUCKETS)
        bucket = row[feature_names(["ann"], lists)[0].index("lF")]
        weight[bucket] = [-100, 50, 45]
        weight[row[0]] = [10, 0, 0]  # the bias: a word that tells nothing is outside
        transition = np.array([[0, 0, -1e4], [0, 0, 0.6], [0, 0, 0.6]], dtype=np.float32)
        tensors = {
            "weight": weight, "scale": np.array(0.1, np.float32), "transition": transition,
            "start": np.array([0, 0, -1e4], np.float32), "end": np.zeros(3, np.float32),
            "first_names": np.array(sorted(lists.first_names), np.uint32),
            "last_names": np.array([], np.uint32), "common_words": np.array([], np.uint32),
        }  # fmt: skip
        (tmp_path / "tagger.safetensors").write_bytes(save(tensors))
        (tmp_path / "tagger.json").write_text(json.dumps({"tags": TAGS, "begin_bonus": 0.0, **settings}))
        return tmp_path

    return write


def names(tagger, text):
    return [text[span.start : span.end] for span in tagger.detect(text)]


def test_neighbouring_words_are_one_span(tagger_folder):
    assert names(read_tagger(tagger_folder()), "hello Ann Lee, and lee") == ["Ann Lee", "lee"]


def test_a_bonus_finds_more(tagger_folder):
    assert names(read_tagger(tagger_folder(begin_bonus=2.0)), "hello") == ["hello"]


def test_a_long_text_is_tagged_in_windows_without_loss(tagger_folder):
    text = "ann . " * (2 * MAX_TOKENS)
    assert names(read_tagger(tagger_folder()), text) == ["ann"] * (2 * MAX_TOKENS)


def test_a_missing_tensor_file_is_reported(tagger_folder):
    folder = tagger_folder()
    (folder / "tagger.safetensors").unlink()
    with pytest.raises(UserError, match=r"tagger\.safetensors"):
        read_tagger(folder)


def test_an_invalid_setting_is_reported(tagger_folder):
    with pytest.raises(UserError, match="begin_bonus"):
        read_tagger(tagger_folder(begin_bonus="high"))


@given(st.text(max_size=60))
def test_tokens_cover_all_but_white_space(text):
    tokens = tokenize(text)
    covered = {index for token in tokens for index in range(token.start, token.end)}
    assert all(index in covered or text[index].isspace() for index in range(len(text)))
    assert all(text[token.start : token.end] == token.text for token in tokens)


@given(st.lists(st.sampled_from(["Ann", "lee", "周", "12", ",", "[NAME_1]", "\n", "O'Brien"]), min_size=1, max_size=12))
def test_every_token_has_features(words):
    rows = token_features(words, WordLists(set(), set(), set()), BUCKETS)
    assert len(rows) == len(words)
    assert all(row and all(0 <= bucket < BUCKETS for bucket in row) for row in rows)


@given(st.lists(st.tuples(st.sampled_from(["name", "address"]), st.integers(1, 3)), max_size=4))
def test_spans_survive_the_tags(parts):
    text, spans = "", []
    for kind, count in parts:
        value = " ".join(["word"] * count)
        spans.append(PersonalSpan(len(text), len(text) + len(value), kind))
        text += f"{value} , "
    tokens = tokenize(text)
    assert list(spans_of_tags(text, tokens, tags_of_spans(tokens, spans))) == spans


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My name is Margaret Oduya.", ["Margaret Oduya"]),
        ("hi this is darren, i cant log in", ["darren"]),
        ("Please deliver to 14 Larkspur Lane, Kettering NN16 9QX.", ["14 Larkspur Lane, Kettering NN16 9QX"]),
        ("我叫周雨桐,电饭煲坏了", ["周雨桐"]),
        ("寄到浙江省杭州市西湖区文三路478号", ["浙江省杭州市西湖区文三路478号"]),
        ("What are your opening hours in December?", []),
        ("I bought a Samsung Galaxy in Berlin.", []),
        ("北京到上海的高铁多少钱", []),
        ("[NAME_1] wrote to [EMAIL_1]", []),
    ],
)
def test_the_bundled_tagger_detects_names_and_addresses(text, expected):
    assert names(load_bundled_tagger(), text) == expected
