"""Computations in steps: between two steps the thread can compute something else, or the caller can stop."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")

Steps = Generator[None, None, Result]
"""A generator that yields after every step, and returns the result of all."""


def run_steps(steps: Steps[Result]) -> Result:
    """Compute all steps, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result
