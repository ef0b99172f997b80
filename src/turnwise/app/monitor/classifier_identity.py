"""Which classifier labels the sentiment, so that detectors never continue with the labels of another one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ClassifierIdentity:
    """A classifier of sentiment.

    Attributes:
        name: its name or folder; None without a classifier.
        digest: hash of its files, which changes if it is trained again into the same folder; None if it is not known.
    """

    name: str | None = None
    digest: str | None = None

    def is_same(self, identity: "ClassifierIdentity") -> bool:
        """True if both give the same labels: equal files; where the files of one are not known, equal names."""
        if self.digest is None or identity.digest is None:
            return self.name == identity.name
        return self.digest == identity.digest

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> "ClassifierIdentity | None":
        """The classifier of a stored state; None if the state is of a version that did not store it."""
        return cls(state["labelled_by"], state.get("labelled_by_digest")) if "labelled_by" in state else None

    def state(self) -> dict[str, Any]:
        """As `load` reads it, a JSON object."""
        return {"labelled_by": self.name, "labelled_by_digest": self.digest}
