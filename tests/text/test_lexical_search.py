"""Lexical search: BM25 as the formula states it, ties in the order of the texts, and unchanged results of its users."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.messages import Message
from turnwise.data.sources import DataSource
from turnwise.text.lexical_search import LexicalIndex
from turnwise.text.rendering.demonstrations import Demonstrations
from turnwise.text.word_tokens import split_words

short_texts = st.lists(st.sampled_from(["tea", "milk", "bread", "天", "气"]), max_size=6).map(" ".join)


def bm25_scores(texts, query, dtype=float):
    """BM25 of each text, from the formula of Robertson & Zaragoza 2009 with the idf of Lucene, in `dtype`."""
    documents = [Counter(split_words(text)) for text in texts]
    mean_length = sum(document.total() for document in documents) / max(1, len(documents)) or 1
    scores = [dtype(0)] * len(documents)
    for word in split_words(query):
        containing = sum(word in document for document in documents)
        idf = dtype(math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5)))
        for index, document in enumerate(documents):
            count = dtype(document[word])
            normalization = dtype(1.5 * (1 - 0.75 + 0.75 * document.total() / mean_length))
            scores[index] += idf * (count / (normalization + count))
    return [float(score) * 2.5 for score in scores]


@pytest.fixture(scope="module")
def bundled_questions(request):
    dialogues = DataSource(request.config.rootpath / "examples/bike_shop.jsonl")
    return [next(m.content for m in dialogue.messages if m.role == "user") for dialogue in dialogues]


@given(st.lists(short_texts, max_size=8), short_texts, st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_the_best_texts_by_the_formula_come_first(texts, query, k):
    matches = LexicalIndex(texts).search(query, k)
    scores = bm25_scores(texts, query)
    assert [match.score for match in matches] == pytest.approx(sorted(scores, reverse=True)[: len(matches)])
    assert [match.score for match in matches] == pytest.approx([scores[match.index] for match in matches])
    assert len(matches) == min(k, sum(score > 0 for score in scores))


def test_equal_scores_keep_the_order_of_the_texts():
    index = LexicalIndex(["milk", "tea", "bread", "tea", "tea"])
    assert [match.index for match in index.search("tea", 2)] == [1, 3]
    assert [match.index for match in index.search("tea", 9)] == [1, 3, 4]


def test_a_text_without_a_word_of_the_query_is_no_match():
    assert LexicalIndex(["tea", "milk"]).search("zebra ?!", 5) == []
    assert LexicalIndex([]).search("tea", 5) == []


def test_a_repeated_word_counts_as_often_as_it_occurs_unless_told_otherwise():
    index = LexicalIndex(["milk with sugar", "tea with sugar"])
    (once,), (twice,) = index.search("tea", 1), index.search("tea tea", 1)
    assert twice.score == pytest.approx(2 * once.score)
    assert index.search("tea tea", 1, count_repeats=False) == [once]


def test_chinese_is_compared_by_characters():
    assert LexicalIndex(["我的包裹在哪里?", "今天天气怎么样?"]).search("天气好吗", 1)[0].index == 1


def test_single_precision_gives_the_same_best_match_on_the_bundled_dialogues(bundled_questions):
    indexed, queries = bundled_questions[::2], bundled_questions[1::4]
    index = LexicalIndex(indexed)
    for query in queries:
        assert index.search(query, 1)[0].index == np.argmax(bm25_scores(indexed, query, np.float32))


def test_demonstrations_are_the_best_by_the_formula_and_the_first_dialogues_fill_up(bundled_questions):
    indexed, queries = bundled_questions[:40], bundled_questions[40:60]
    demonstrations = Demonstrations(tuple((Message("user", question),) for question in indexed), 4)
    for query in [*queries, "zebra"]:
        scores = np.round(bm25_scores(indexed, " ".join(dict.fromkeys(split_words(query)))), 9)
        expected = [indexed[index] for index in np.argsort(-scores, kind="stable")[:4]]
        _, messages = demonstrations.select([Message("user", query)])
        assert [message.content for message in messages][::-1] == expected
