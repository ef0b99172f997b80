"""A finding of a check: what is wrong in which file."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding.

    Attributes:
        severity: "error" if some message is answered wrongly or not at all; "warning" otherwise.
        file: file in the scenario's folder.
        key: path of the entry in the file, such as order_status.en.2; "" for the file.
        message: one sentence.
        check: name of the check.
    """

    severity: Severity
    file: str
    key: str
    message: str
    check: str = ""

    def __str__(self) -> str:
        key = f", {self.key}" if self.key else ""
        return f"{self.severity}: {self.file}{key}: {self.message}"


def error(file: str, key: str, message: str) -> Finding:
    """A finding with the severity "error"."""
    return Finding("error", file, key, message)


def warning(file: str, key: str, message: str) -> Finding:
    """A finding with the severity "warning"."""
    return Finding("warning", file, key, message)
