"""Neighbouring sentences of a document are grouped up to a number of words."""

from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from turnwise.data.annotations.annotated import TaggedSentence, group_sentences, join_sentences

SENTENCES = st.lists(
    st.builds(
        lambda words, document: TaggedSentence(tuple(words), ("O",) * len(words), document),
        st.lists(st.sampled_from("abc"), max_size=6),
        st.integers(0, 2),
    ),
    max_size=12,
)


@given(SENTENCES, st.integers(1, 10))
def test_groups_keep_order_documents_and_the_limit(sentences, limit):
    groups = group_sentences(sentences, limit)
    assert list(chain(*groups)) == sentences
    for group in groups:
        assert len({sentence.document for sentence in group}) == 1
        assert len(group) == 1 or sum(len(sentence.tokens) for sentence in group) <= limit


@given(SENTENCES.filter(bool), st.integers(1, 10))
def test_a_group_ends_only_where_the_next_sentence_does_not_fit(sentences, limit):
    groups = group_sentences(sentences, limit)
    for group, following in pairwise(groups):
        if group[0].document == following[0].document:
            assert sum(len(s.tokens) for s in group) + len(following[0].tokens) > limit


def test_joined_sentences_are_one():
    joined = join_sentences(
        [TaggedSentence(("Ada", "left"), ("B-PER", "O"), 3), TaggedSentence(("Rome",), ("B-LOC",), 3)]
    )
    assert joined == TaggedSentence(("Ada", "left", "Rome"), ("B-PER", "O", "B-LOC"), 3, sentence_starts=(0, 2))
