"""Finds the earlier text that a text is a near copy of, among those of the last hours.

MinHash signatures of character shingles (Broder 1997) in bands of a locality-sensitive hash (Indyk and Motwani 1998)
give candidates; `text_similarity.is_near_copy` compares them exactly.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.monitor.text_similarity import is_near_copy, normalize, shingles

BANDS, ROWS = 16, 4  # of texts with a Jaccard similarity of 0.7, 98.8 % become candidates; of 0.4, 34 %
MAX_CANDIDATES = 50  # compared per text, the latest ones
_MIXERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)
STATE_VERSION = 1  # increase it when `normalize`, the signatures or the layout of the state change
_SEED = 20_240_607


@dataclass(slots=True)
class _Entry:
    time: float
    normalized: str
    keys: tuple[int, ...]


class NearCopies:
    """Texts of the last hours, each once.

    Args:
        max_age_hours: a text is compared with those of so many hours.
        max_texts: number of texts in memory, about 2 kB each; the oldest are dropped.
        min_characters: texts whose normal form is shorter are never copies: "buy the dip" is the opinion of many.
        first_id: id of the first text.
    """

    def __init__(
        self, max_age_hours: float = 6.0, max_texts: int = 100_000, min_characters: int = 20, first_id: int = 0
    ) -> None:
        self._max_age = max_age_hours * 3600
        self._max_texts = max_texts
        self._min_characters = min_characters
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._buckets: dict[int, list[int]] = {}
        self._next_id = first_id
        random = np.random.default_rng(_SEED)
        self._factors = random.integers(1, 2**64, (BANDS * ROWS, 1), dtype=np.uint64) | np.uint64(1)
        self._offsets = random.integers(0, 2**64, (BANDS * ROWS, 1), dtype=np.uint64)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, text: str, time: float) -> int | None:
        """Return the id of the earlier text that this one copies; if there is none, remember it and return None.

        Ids are consecutive in the order of calls. The id is that of a text for which `add` returned None, never that
        of a copy. Of several such texts it is the first, so copies of the same text have the same id.

        Args:
            text: the text.
            time: time of the text in Unix seconds. Texts come about in order.
        """
        self._drop_old(time)
        text_id = self._next_id
        self._next_id += 1
        normalized = normalize(text)
        if len(normalized) < self._min_characters:
            return None
        keys = _band_keys(self._signature(normalized))
        for earlier_id in self._candidates(keys):
            if is_near_copy(normalized, self._entries[earlier_id].normalized):
                return earlier_id
        self._insert(text_id, _Entry(time, normalized, keys))
        return None

    def state(self) -> dict[str, Any]:
        """Return the state as JSON data: the normal forms of all texts in memory."""
        entries = [[text_id, entry.time, entry.normalized] for text_id, entry in self._entries.items()]
        return {"next_id": self._next_id, "entries": entries}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned, in a new object with the same settings."""
        for text_id, time, normalized in state["entries"]:
            self._insert(text_id, _Entry(time, normalized, _band_keys(self._signature(normalized))))
        self._next_id = state["next_id"]

    def _signature(self, normalized: str) -> NDArray[np.uint32]:
        """Smallest hash of the shingles under every hash function (multiply-shift, Dietzfelbinger et al. 1997)."""
        hashes = np.fromiter(shingles(normalized), np.uint64)
        smallest: NDArray[np.uint64] = ((hashes * self._factors + self._offsets) >> np.uint64(32)).min(axis=1)
        return smallest.astype(np.uint32)

    def _candidates(self, keys: tuple[int, ...]) -> list[int]:
        identifiers = {text_id for key in keys for text_id in self._buckets.get(key, ())[-MAX_CANDIDATES:]}
        return sorted(identifiers)[-MAX_CANDIDATES:]

    def _insert(self, text_id: int, entry: _Entry) -> None:
        self._entries[text_id] = entry
        for key in entry.keys:
            self._buckets.setdefault(key, []).append(text_id)
        if len(self._entries) > self._max_texts:
            self._drop_first()

    def _drop_old(self, now: float) -> None:
        while self._entries and next(iter(self._entries.values())).time < now - self._max_age:
            self._drop_first()

    def _drop_first(self) -> None:
        text_id, entry = self._entries.popitem(last=False)
        for key in entry.keys:
            bucket = self._buckets[key]
            bucket.remove(text_id)
            if not bucket:
                del self._buckets[key]


def _band_keys(signature: NDArray[np.uint32]) -> tuple[int, ...]:
    """One key per band. The number of the band is in the low bits, so that equal values of two bands do not meet."""
    mixed_B = (signature.reshape(BANDS, ROWS).astype(np.uint64) * _MIXERS).sum(axis=1, dtype=np.uint64)
    return tuple((mixed_B >> np.uint64(4) << np.uint64(4) | np.arange(BANDS, dtype=np.uint64)).tolist())
