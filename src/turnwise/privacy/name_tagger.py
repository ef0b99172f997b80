"""Tagger of names and addresses: a linear-chain CRF on hashed features, in numpy (Lafferty et al. 2001).

Folder of a tagger, trained by `recipes/privacy/train.py`: `tagger.json` (tags, bonus) and `tagger.safetensors` (weights
of the buckets as 8-bit integers with a scale, transitions, hashes of names and common words).

Shapes: N tokens of a text, K tags, H buckets.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load as load_tensors

from turnwise.core.json_file import JsonFileModel, read_bytes, read_json_object, validate_fields
from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.tagger_features import Token, WordLists, token_features, tokenize

MAX_TOKENS = 512  # of a window; longer texts are tagged in windows that overlap
OVERLAP = 64
BUNDLED_TAGGER = "bundled/personal-names"
KIND_OF_TAG = {"NAME": "name", "ADDRESS": "address"}


class TaggerFile(JsonFileModel):
    """Content of `tagger.json`.

    Attributes:
        tags: tags in the order of the weights, "O" first.
        begin_bonus: what is added to the scores of the tags that begin a span; positive for a higher recall.
    """

    tags: list[str] = Field(min_length=2, description="a list of tags")
    begin_bonus: float = Field(description="a number")


class NameTagger:
    """Detects names of people and postal addresses, English and Chinese: a `PersonalDataDetector`."""

    def __init__(self, settings: TaggerFile, tensors: dict[str, NDArray[np.generic]]) -> None:
        """Use the content of the two files."""
        self._tags = settings.tags
        self._weight_HK = np.asarray(tensors["weight"])
        self._scale = np.float32(tensors["scale"])
        self._transition_KK = np.asarray(tensors["transition"], dtype=np.float32)
        self._start_K = np.asarray(tensors["start"], dtype=np.float32)
        self._end_K = np.asarray(tensors["end"], dtype=np.float32)
        self._bonus_K = np.array([settings.begin_bonus * tag.startswith("B") for tag in self._tags], dtype=np.float32)
        names = ("first_names", "last_names", "common_words")
        self._lists = WordLists(*(frozenset(tensors[name].tolist()) for name in names))

    def detect(self, text: str) -> Iterator[PersonalSpan]:
        """Spans of names and addresses, in order."""
        tokens = tokenize(text)
        if tokens:
            yield from spans_of_tags(text, tokens, self._tag(tokens))

    def _tag(self, tokens: Sequence[Token]) -> list[str]:
        tags: list[str] = []
        for start in range(0, len(tokens), MAX_TOKENS - OVERLAP):
            window = tokens[start : start + MAX_TOKENS]
            keep = len(tags) - start  # of the overlap the first half is of the window before
            if keep:
                tags = tags[: start + OVERLAP // 2]
                keep = OVERLAP // 2
            tags += self._tag_window([token.text for token in window])[keep:]
            if start + MAX_TOKENS >= len(tokens):
                break
        return tags

    def _tag_window(self, words: Sequence[str]) -> list[str]:
        features = token_features(words, self._lists, len(self._weight_HK))
        flat = np.fromiter((bucket for row in features for bucket in row), dtype=np.int64)
        starts = np.cumsum([0, *(len(row) for row in features[:-1])])
        emission_NK = np.add.reduceat(self._weight_HK[flat], starts, axis=0, dtype=np.int32) * self._scale
        return [self._tags[index] for index in self._decode(emission_NK + self._bonus_K)]

    def _decode(self, emission_NK: NDArray[np.float32]) -> list[int]:
        """The sequence of tags with the highest score (Viterbi 1967)."""
        score_K = self._start_K + emission_NK[0]
        backpointers = np.empty((len(emission_NK), len(score_K)), dtype=np.int64)
        for index in range(1, len(emission_NK)):
            candidate_KK = score_K[:, None] + self._transition_KK
            backpointers[index] = candidate_KK.argmax(axis=0)
            score_K = candidate_KK.max(axis=0) + emission_NK[index]
        path = [int((score_K + self._end_K).argmax())]
        for index in range(len(emission_NK) - 1, 0, -1):
            path.append(int(backpointers[index, path[-1]]))
        return path[::-1]


def spans_of_tags(text: str, tokens: Sequence[Token], tags: Sequence[str]) -> Iterator[PersonalSpan]:
    """Spans of the tags of a text in the scheme IOB2; those without a letter or digit are left out."""
    start, kind = 0, ""
    for index in range(len(tokens) + 1):
        tag = tags[index] if index < len(tokens) else "O"
        if kind and tag != f"I-{kind}":
            first, last = tokens[start].start, tokens[index - 1].end
            if any(character.isalnum() for character in text[first:last]):
                yield PersonalSpan(first, last, "name" if kind == "NAME" else "address")
            kind = ""
        if tag[0] != "O" and not kind:
            start, kind = index, tag[2:]


def tags_of_spans(tokens: Sequence[Token], spans: Sequence[PersonalSpan]) -> list[str]:
    """Tags of the tokens in the scheme IOB2."""
    tags = []
    for index, token in enumerate(tokens):
        span = next((span for span in spans if span.start < token.end and token.start < span.end), None)
        if span is None:
            tags.append("O")
        else:
            is_inside = index > 0 and tokens[index - 1].start >= span.start
            tags.append(f"{'I' if is_inside else 'B'}-{span.kind.upper()}")
    return tags


def read_tagger(folder: Path) -> NameTagger:
    """Read a tagger from its folder. Raises `UserError` if a file is missing or invalid."""
    path = folder / "tagger.json"
    fields = read_json_object(path)
    validate_fields(TaggerFile, fields, str(path))
    return NameTagger(TaggerFile.model_validate(fields), load_tensors(read_bytes(folder / "tagger.safetensors")))


@cache
def load_bundled_tagger() -> NameTagger:
    """The tagger that comes with the package, loaded once."""
    return read_tagger(Path(str(resources.files("turnwise").joinpath(BUNDLED_TAGGER))))
