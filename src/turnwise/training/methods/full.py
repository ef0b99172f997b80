"""Full fine-tuning: every weight learns."""

from typing import ClassVar

from turnwise.training import method


class Method(method.Method):
    """Nothing is frozen and nothing is added."""

    SUMMARY: ClassVar[str] = "every weight learns"
