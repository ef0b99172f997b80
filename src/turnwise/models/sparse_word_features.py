"""Logits of words from sparse features, as in a linear-chain CRF over hashed features.

Every feature of a word, such as "its last three letters are 'ing'" or "the word before it is 'in'", has a row of
weights, one per label, and the logits of a word are the sum of its rows. There are far more features than a table can
hold, so the row is a hash of the feature (Weinberger et al. 2009). Without pretraining, a linear model of such features
finds more names than a network trained on the same sentences (docs/experiments.md).

A word also has the contexts of all its occurrences in the same window (Ratinov & Roth 2009, section 4): in "Blackburn
said … (Peter Blackburn)", the first name tells that both are a person.

Words of other scripts than Latin-1 have their shape (`WordShape`), but not their form in lower case: the ids of their
characters do not tell it.

Shapes: N words of all windows, M distinct ones, L characters of a word, K logits, D occurrences with a context.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.core.word_features import (
    CHARACTERS_FROM,
    FIRST_SHARED_ID,
    SHAPE_COLUMN,
    SHAPES_WITH_LETTERS,
    START_COLUMN,
)

MAX_BUCKETS = 2**18
MAX_WEIGHTS = 2**25
FEATURE_DROPOUT = 0.4  # share of the features of a word that are left out in training
MAX_AFFIX = 4
NGRAM = 4
PADDING = 0  # the bucket without weights

_MULTIPLIER = 6364136223846793005  # of Knuth's linear congruential generator; products wrap around
_WORD_START, _WORD_END = 1, 2  # among the characters; both are control codes
_NO_WORD = 1  # in the place of a neighbour, outside the sentence
_NGRAM_SALT = 8
_CASE_OFFSET = 32  # from a capital letter of Latin-1 to the small one


class SparseWordFeatures(nn.Module):
    """Sums the weights of hashed features; they are zero at first.

    Args:
        num_logits: K.
    """

    def __init__(self, num_logits: int) -> None:
        super().__init__()
        self.num_buckets = min(MAX_BUCKETS, 1 << (MAX_WEIGHTS // num_logits).bit_length() - 1)
        self.weights = nn.Embedding(self.num_buckets, num_logits, padding_idx=PADDING)
        nn.init.zeros_(self.weights.weight)

    def forward(self, features_NF: Tensor, lengths: Sequence[int]) -> Tensor:
        """Logits `(N, K)`.

        Args:
            features_NF: features of the words, as from `encode_words`.
            lengths: number of words of each window (several sentences, or a part of a long one).
        """
        spelled_NF = torch.cat([features_NF[:, [SHAPE_COLUMN]], features_NF[:, CHARACTERS_FROM:]], dim=1).long()
        distinct_MF, word_N = torch.unique(spelled_NF, dim=0, return_inverse=True)
        spelling = _Spelling(distinct_MF[:, 1:], distinct_MF[:, 0])
        sentences = _Sentences(features_NF[:, START_COLUMN] > 0, lengths)
        ids_NX = torch.cat([spelling.features_MX[word_N], _contexts(spelling, word_N, sentences)], dim=1)
        sums_NK = self._sum(ids_NX) + self._document_sums(spelling, word_N, sentences)
        return sums_NK / (1 - FEATURE_DROPOUT) if self.training else sums_NK

    def _sum(self, ids_NX: Tensor) -> Tensor:
        """The sum of the rows of weights of every row of ids; absent features are `PADDING`."""
        weights_VK = self.weights.weight
        sums_NK: Tensor = F.embedding_bag(self._buckets(ids_NX), weights_VK, mode="sum", padding_idx=PADDING)
        return sums_NK

    def _buckets(self, ids: Tensor) -> Tensor:
        """The rows of features; in training a share of them is left out."""
        buckets = ((ids >> 24) & (self.num_buckets - 1)).masked_fill(ids == PADDING, PADDING)
        if not self.training:
            return buckets
        return buckets.masked_fill(torch.rand(buckets.shape, device=buckets.device) < FEATURE_DROPOUT, PADDING)

    def _document_sums(self, spelling: "_Spelling", word_N: Tensor, sentences: "_Sentences") -> Tensor:
        """Sums of the rows of the contexts of all occurrences of a word in its window; zero if there is one only."""
        key_N = _mix(spelling.lower_M[word_N], sentences.window_N)
        word_ids, type_N, count = torch.unique(key_N, return_inverse=True, return_counts=True)
        is_repeated_N = (count > 1)[type_N] & spelling.is_name_like_M[word_N]
        contexts_NX = _occurrence_contexts(spelling, word_N, sentences)
        is_context_NX = (contexts_NX != PADDING) & is_repeated_N[:, None]
        type_D = type_N[:, None].expand_as(contexts_NX)[is_context_NX]
        pairs_D2 = torch.unique(torch.stack([type_D, contexts_NX[is_context_NX]], dim=1), dim=0)
        rows_DK: Tensor = self.weights(self._buckets(pairs_D2[:, 1]))
        sums_MK = rows_DK.new_zeros(len(word_ids), rows_DK.shape[1]).index_add(0, pairs_D2[:, 0], rows_DK)
        return sums_MK.index_select(0, type_N)


class _Spelling:
    """Ids of features of distinct words that follow from their characters.

    Attributes:
        raw_M, lower_M: the word; in lower case, with all digits as 0.
        shape_M: its `WordShape`, and its case, digits and marks without repetitions, as "Xx", "d-d" or "X.X.".
        affixes_MX: its first and last one to `MAX_AFFIX` letters.
        features_MX: all features of the word itself.
        is_name_like_M: it has several characters and starts with a letter.

    Args:
        characters_ML: ids of the characters.
        word_shape_M: the `WordShape`.
    """

    def __init__(self, characters_ML: Tensor, word_shape_M: Tensor) -> None:
        is_shared_ML = characters_ML >= FIRST_SHARED_ID
        is_upper_ML, is_digit_ML = _between(characters_ML, "AZ"), _between(characters_ML, "09")
        is_lower_ML = _between(characters_ML, "az") | is_shared_ML  # for the shape, which `WordShape` completes
        has_small_ML = is_upper_ML | _between(characters_ML, "ÀÞ")
        lower_ML = (characters_ML + _CASE_OFFSET * has_small_ML).masked_fill(is_digit_ML, ord("0"))
        classes_ML = characters_ML + 10
        for number, mask_ML in enumerate((is_upper_ML, is_lower_ML, is_digit_ML), 1):
            classes_ML = classes_ML.masked_fill(mask_ML, number)
        is_character_ML = characters_ML > 0
        length_M = is_character_ML.sum(dim=1)
        is_new_ML = is_character_ML & (classes_ML != F.pad(classes_ML[:, :-1], (1, 0)))
        self.raw_M = _hash(characters_ML, is_character_ML)
        self.lower_M = _hash(lower_ML, is_character_ML)
        self.shape_M = _mix(_hash(classes_ML, is_new_ML), word_shape_M)
        long_shape_M = _hash(classes_ML, is_character_ML)
        self.affixes_MX = _affixes(lower_ML, length_M)
        has_letters_M = torch.isin(word_shape_M, torch.tensor(SHAPES_WITH_LETTERS, device=word_shape_M.device))
        self.is_name_like_M = (length_M > 1) & (is_upper_ML | is_lower_ML)[:, 0] & has_letters_M
        bias_M = torch.ones_like(self.raw_M)
        words_MX = torch.stack([self.raw_M, self.lower_M, self.shape_M, long_shape_M, bias_M], dim=1)
        features_MX = _salted(torch.cat([words_MX, self.affixes_MX], dim=1), salt=1)
        self.features_MX = torch.cat([features_MX, _ngrams(characters_ML, length_M)], dim=1)


class _Sentences:
    """Which words are in the same sentence.

    Attributes:
        window_N: number of the window of each word.
        is_start_N: the word is known to start a sentence; the first word of a part of a long sentence does not.
    """

    def __init__(self, is_start_N: Tensor, lengths: Sequence[int]) -> None:
        device = is_start_N.device
        lengths_S = torch.tensor(lengths, device=device)
        self.window_N = torch.arange(len(lengths), device=device).repeat_interleave(lengths_S)
        changes_N = self.window_N != F.pad(self.window_N[:-1], (1, 0), value=-1)
        self.is_start_N = is_start_N
        self._sentence_N = (is_start_N | changes_N).cumsum(0)

    def neighbour(self, values_N: Tensor, offset: int) -> Tensor:
        """The values of the words at an offset; `_NO_WORD` outside the sentence."""
        if abs(offset) >= len(values_N):
            return torch.full_like(values_N, _NO_WORD)
        is_same_N = self._sentence_N.roll(-offset) == self._sentence_N
        is_same_N[-offset if offset > 0 else 0 : None if offset > 0 else -offset] = False  # what `roll` moves around
        return values_N.roll(-offset).where(is_same_N, _NO_WORD)


def _contexts(spelling: _Spelling, word_N: Tensor, sentences: _Sentences) -> Tensor:
    """Features of the words around each word, alone and together with it."""
    lower_N, shape_N = spelling.lower_M[word_N], spelling.shape_M[word_N]
    parts = []
    for salt, offset in enumerate((-1, 1, -2, 2), 2):
        values = [lower_N, shape_N]
        if abs(offset) == 1:
            values += [spelling.raw_M[word_N], *spelling.affixes_MX[word_N].unbind(dim=1)]
        around_NX = torch.stack([sentences.neighbour(value_N, offset) for value_N in values], dim=1)
        parts.append(_salted(around_NX, salt))
    before_N, after_N = (sentences.neighbour(shape_N, offset) for offset in (-1, 1))
    conjunctions = [
        _mix(sentences.neighbour(lower_N, -1), lower_N), _mix(lower_N, sentences.neighbour(lower_N, 1)),
        _mix(before_N, shape_N), _mix(shape_N, after_N), _mix(_mix(before_N, shape_N), after_N),
        _mix(shape_N, sentences.is_start_N.long()),
    ]  # fmt: skip
    return torch.cat([*parts, _salted(torch.stack(conjunctions, dim=1), salt=6)], dim=1)


def _occurrence_contexts(spelling: _Spelling, word_N: Tensor, sentences: _Sentences) -> Tensor:
    """Features of the context of each word, which all its occurrences in the window share."""
    lower_N, shape_N = spelling.lower_M[word_N], spelling.shape_M[word_N]
    values = [sentences.neighbour(value_N, offset) for value_N in (lower_N, shape_N) for offset in (-1, 1)]
    values.append(_mix(shape_N, sentences.is_start_N.long()))
    return _salted(torch.stack(values, dim=1), salt=7)


def _between(characters: Tensor, limits: str) -> Tensor:
    return (characters >= ord(limits[0])) & (characters <= ord(limits[1]))


def _mix(a: Tensor, b: Tensor | int) -> Tensor:
    """A hash of two values."""
    mixed = (a * 31 ^ b) * _MULTIPLIER
    return mixed ^ (mixed >> 29)


def _salted(ids_NX: Tensor, salt: int) -> Tensor:
    """Ids that differ from those of other columns and salts; `PADDING` stays."""
    columns_X = torch.arange(ids_NX.shape[1], device=ids_NX.device) + 1000 * salt
    return _mix(ids_NX, columns_X).masked_fill(ids_NX == PADDING, PADDING)


def _hash(values_ML: Tensor, mask_ML: Tensor) -> Tensor:
    """A hash of the values of each row where the mask is True."""
    hash_M = torch.full_like(values_ML[:, 0], _MULTIPLIER)
    for values_M, mask_M in zip(values_ML.unbind(dim=1), mask_ML.unbind(dim=1), strict=True):
        hash_M = torch.where(mask_M, _mix(hash_M, values_M), hash_M)
    return hash_M


def _affixes(lower_ML: Tensor, length_M: Tensor) -> Tensor:
    """Hashes of the first and last one to `MAX_AFFIX` characters; `PADDING` if the word is shorter."""
    index_L = torch.arange(lower_ML.shape[1], device=lower_ML.device)
    columns = []
    for size in range(1, MAX_AFFIX + 1):
        is_long_M = length_M >= size
        start_M1 = (length_M - size)[:, None]
        for mask_ML in (index_L < size, (index_L >= start_M1) & (index_L < start_M1 + size)):
            hash_M = _hash(lower_ML, mask_ML.expand_as(lower_ML))
            columns.append(hash_M.masked_fill(~is_long_M, PADDING))
    return torch.stack(columns, dim=1)


def _ngrams(characters_ML: Tensor, length_M: Tensor) -> Tensor:
    """Hashes of all sequences of `NGRAM` characters, at any place in the word; its start and end are marked."""
    marked_ML = F.pad(characters_ML, (1, 1))
    marked_ML[:, 0] = _WORD_START
    marked_ML.scatter_(1, length_M[:, None] + 1, _WORD_END)
    windows_MLG = marked_ML.unfold(1, NGRAM, 1)
    hash_ML = torch.full_like(windows_MLG[:, :, 0], _NGRAM_SALT)
    for column_ML in windows_MLG.unbind(dim=2):
        hash_ML = _mix(hash_ML, column_ML)
    return hash_ML.masked_fill(windows_MLG[:, :, -1] == 0, PADDING)
