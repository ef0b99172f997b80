"""Cache of compiled grammars."""

from collections import OrderedDict
from threading import Lock

from turnwise.text.constraints.grammar_constraint import GrammarConstraint

# A compiled grammar takes about 0.1 MB, and 20 to 60 bytes per character of its source: at most about 70 MB in total.
MAX_GRAMMARS = 64
MAX_CHARACTERS = 1_000_000


class GrammarCache:
    """Least-recently-used cache of grammars by source. Thread-safe."""

    def __init__(self, max_grammars: int = MAX_GRAMMARS, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_grammars, self._max_characters = max_grammars, max_characters
        self._grammars: OrderedDict[str, GrammarConstraint] = OrderedDict()
        self._lock = Lock()

    @property
    def num_characters(self) -> int:
        """Total length of the sources."""
        return sum(map(len, self._grammars))

    def __len__(self) -> int:
        return len(self._grammars)

    def get(self, source: str) -> GrammarConstraint | None:
        """The grammar with this source, if it is cached."""
        with self._lock:
            if source in self._grammars:
                self._grammars.move_to_end(source)
            return self._grammars.get(source)

    def put(self, source: str, grammar: GrammarConstraint) -> None:
        """Add a grammar and evict the least recently used ones."""
        with self._lock:
            self._grammars[source] = grammar
            self._grammars.move_to_end(source)
            while len(self) > self._max_grammars or self.num_characters > self._max_characters:
                self._grammars.popitem(last=False)
