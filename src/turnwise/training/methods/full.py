"""Full fine-tuning: train all weights."""

from typing import ClassVar

from turnwise.training import method


class FullMethod(method.Method):
    """Trains all weights."""

    SUMMARY: ClassVar[str] = "train all weights"
