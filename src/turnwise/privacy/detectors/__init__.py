"""Detectors by rules. A plug-in is a module with `detect(text)`, which yields spans (`PersonalDataDetector`)."""

from functools import cache

from turnwise.core.personal_data import PersonalDataDetector
from turnwise.core.plugins import PluginGroup
from turnwise.privacy.patterns import load_library

DETECTORS: PluginGroup[PersonalDataDetector] = PluginGroup(
    "personal data detector", "personal_data_detectors", (__name__, __path__), requires=("detect",)
)


@cache
def load_detectors() -> tuple[PersonalDataDetector, ...]:
    """All detectors by rules. Raises `UserError` if a library of the extra `privacy` is missing."""
    for library in ("phonenumbers", "stdnum"):
        load_library(library)  # detectors load them at the first candidate, which would be in the middle of a file
    return tuple(DETECTORS.all().values())
