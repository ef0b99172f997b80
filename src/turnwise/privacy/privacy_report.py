"""Report on the personal data of a data set: rows and different values by kind, and some values on request."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from turnwise.core.personal_data import PERSONAL_DATA_KINDS

MAX_EXAMPLES = 5  # values of a kind


class PrivacyReport:
    """Counts what was masked, row by row.

    Args:
        shows_values: collect examples of values. Without it the report holds no personal data.
    """

    def __init__(self, *, shows_values: bool = False) -> None:
        self.num_rows = 0
        self.num_rows_with_personal_data = 0
        self.rows_by_kind: Counter[str] = Counter()
        self.values_by_kind: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)
        self._shows_values = shows_values

    def add(self, values: Mapping[str, str]) -> None:
        """Count a row by its values by placeholder, such as {"[NAME_1]": "Ann"}."""
        self.num_rows += 1
        self.num_rows_with_personal_data += bool(values)
        kinds = Counter(placeholder[1:].rpartition("_")[0].lower() for placeholder in values)
        self.values_by_kind += kinds
        self.rows_by_kind.update(kinds.keys())
        if self._shows_values:
            for placeholder, value in values.items():
                examples = self._examples[placeholder[1:].rpartition("_")[0].lower()]
                if len(examples) < MAX_EXAMPLES and value not in examples:
                    examples.append(value)

    @property
    def examples(self) -> Mapping[str, list[str]]:
        """Some values by kind; empty unless `shows_values`."""
        return dict(self._examples)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        kinds = [kind for kind in PERSONAL_DATA_KINDS if self.values_by_kind[kind]]
        fields: dict[str, Any] = {
            "rows": self.num_rows,
            "rows_with_personal_data": self.num_rows_with_personal_data,
            "kinds": {kind: {"rows": self.rows_by_kind[kind], "values": self.values_by_kind[kind]} for kind in kinds},
        }
        if self._shows_values:
            fields["examples"] = self.examples
        return fields
