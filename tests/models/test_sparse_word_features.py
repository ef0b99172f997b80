"""Sparse features of words: which features words share, what a word sees of its sentence and window, and training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.word_features import encode_words
from turnwise.models.sparse_word_features import MAX_BUCKETS, MAX_WEIGHTS, SparseWordFeatures

LABELS = 3
WORDS = st.lists(
    st.sampled_from(["Rome", "rome", "in", "said", ".", "U.S.", "1996", "Ada", "ROME"]), min_size=1, max_size=9
)


@pytest.fixture(scope="module")
def features():
    """Sparse features with weights drawn at random."""
    torch.manual_seed(0)
    module = SparseWordFeatures(LABELS).eval()
    torch.nn.init.normal_(module.weights.weight)
    with torch.no_grad():
        module.weights.weight[0] = 0
    return module


def encode(*sentences):
    words = [word for sentence in sentences for word in sentence]
    is_start = [index == 0 for sentence in sentences for index in range(len(sentence))]
    return torch.from_numpy(encode_words(words, {}, is_start))


def logits(module, *windows):
    """Logits of the words; a window is a list of sentences."""
    lengths = [sum(map(len, window)) for window in windows]
    with torch.no_grad():
        return module(torch.cat([encode(*window) for window in windows]), lengths)


def rows(module, word):
    """The rows of weights of a word that is alone."""
    module.zero_grad()
    module(encode([word]), [1]).sum().backward()
    return set(module.weights.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist())


@pytest.mark.parametrize(
    ("word", "other", "shared", "not_shared"),
    [
        ("talking", "walking", 2 + 4 + 4, 7),  # shape twice, four suffixes, four sequences of four characters
        ("Rome", "rome", 1 + 8 + 1, 4),  # the word in lower case, its affixes, one sequence of characters
        ("1996", "2007", 1 + 2 + 8, 1),  # digits are equal but for the word as it is
        ("Hamburg", "Freiburg", 1 + 4 + 2, 7),  # shape, four suffixes, and "burg" and its end at another place
        ("Москва", "Берлин", 1, 7),  # shape
    ],
)  # fmt: skip
def test_words_share_the_features_that_they_have_in_common(features, word, other, shared, not_shared):
    common = rows(features, word) & rows(features, other)
    nothing = rows(features, "+-") & rows(features, "abcdef")  # of every word: no neighbours, and the bias
    assert len(common - nothing) >= shared
    assert len(rows(features, word) - common) >= not_shared


def test_no_two_features_of_a_word_are_in_one_row(features):
    alone = [rows(features, word) for word in ("a", "Rome", "U.S.", "uncharacteristically-so")]
    ngrams = [0, 3, 3, 19]  # the sequences of four characters; a long word keeps twenty characters
    affixes = [2, 8, 8, 8]
    always = {len(found) - a - n for found, a, n in zip(alone, affixes, ngrams, strict=True)}
    assert always == {37}  # without neighbours their features are those of the limits of a sentence


@given(WORDS, WORDS, WORDS)
@settings(deadline=None)
def test_a_window_does_not_depend_on_others(features, first, second, third):
    together = logits(features, [first, second], [third], [second])
    alone = torch.cat([logits(features, [first, second]), logits(features, [third]), logits(features, [second])])
    torch.testing.assert_close(together, alone)


def test_a_word_sees_its_neighbours_within_two_words_of_its_sentence(features):
    base = logits(features, [["a", "b", "c", "d", "e", "f"], ["g", "h"]])
    for place, changed in ((2, [0, 1, 2, 3, 4]), (5, [3, 4, 5])):
        words = ["a", "b", "c", "d", "e", "f"]
        words[place] = "X"
        is_changed = (base != logits(features, [words, ["g", "h"]])).any(dim=1)
        assert is_changed.nonzero()[:, 0].tolist() == changed


def test_a_repeated_name_sees_the_neighbours_of_its_other_occurrences(features):
    def sees(name, *, repeated):
        other = name if repeated else "Zoe"
        before, after = (logits(features, [[other, verb], ["then", name, "."]])[3] for verb in ("said", "slept"))
        return bool((before != after).any())

    assert sees("Ada", repeated=True)
    assert not sees("Ada", repeated=False)
    assert not sees("7", repeated=True)  # numbers and marks repeat without a meaning
    twice, thrice = (logits(features, [["Ada", "said"], *[["Ada", "said", "x"]] * n])[0] for n in (1, 2))
    torch.testing.assert_close(twice, thrice)  # an equal context counts once


def test_names_of_other_scripts_see_their_other_occurrences(features):
    first, second = (logits(features, [["Москва", verb], ["и", "Москва", "."]])[3] for verb in ("росла", "спала"))
    assert not torch.equal(first, second)


def test_a_word_that_is_known_to_start_a_sentence_differs_from_the_first_of_a_part(features):
    words = ["Ada", "left", "Rome"]
    whole, part = encode(words), torch.from_numpy(encode_words(words, {}, [False] * 3))
    with torch.no_grad():
        is_changed = (features(whole, [3]) != features(part, [3])).any(dim=1)
    assert is_changed.tolist() == [True, False, False]


def test_features_are_left_out_in_training_and_the_others_are_scaled(features):
    words = encode(["Ada", "left", "Ada"])
    with torch.no_grad():
        evaluated = features(words, [3])
        features.train()
        trained = torch.stack([features(words, [3]) for _ in range(1000)])
    features.eval()
    assert torch.equal(evaluated, features(words, [3]).detach())
    errors = trained.std(dim=0) / 1000**0.5
    assert (errors > 0).all()
    assert ((trained.mean(dim=0) - evaluated).abs() < 5 * errors).all()


def test_new_features_change_no_logits():
    assert not logits(SparseWordFeatures(5).eval(), [["Ada", "left"]]).any()


@pytest.mark.parametrize("num_logits", [1, 9, 100, 1000, 99_999])
def test_the_table_is_bounded(num_logits):
    with torch.device("meta"):
        module = SparseWordFeatures(num_logits)
    assert module.num_buckets <= MAX_BUCKETS
    assert module.num_buckets & (module.num_buckets - 1) == 0
    assert MAX_WEIGHTS / 2 < module.weights.weight.numel() <= MAX_WEIGHTS or module.num_buckets == MAX_BUCKETS
