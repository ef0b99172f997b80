"""Counts with their nouns, for messages."""


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """`1 step`, `2 steps`, `1,234 replies`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
