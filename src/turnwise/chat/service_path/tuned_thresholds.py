"""Thresholds of the service path, and the file `tuned.json` beside a scenario that holds those that were tuned."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from turnwise.core.files import atomic_write
from turnwise.core.json_file import JsonFileModel, read_json_object, validate_fields
from turnwise.scenarios.definition import ScenarioDefinition

TUNED_FILE = "tuned.json"
DEFAULT_MAX_WRONG = 0.05  # of scenarios that are not tuned
DEFAULT_SIMILARITY = 0.24


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a score suffices.

    Attributes:
        intent: probability of an intent.
        clarify: probability of the two likeliest intents together, for a question between them.
        retrieval: share of a message's content words in the best passage.
        similarity: cosine of a message with the best passage, as `similarity_finder` measures it.
        support: share of a generated sentence's content words in the passages.
    """

    intent: float = 0.6
    clarify: float = 0.5
    retrieval: float = 0.5
    similarity: float = DEFAULT_SIMILARITY
    support: float = 0.6


class TunedFile(JsonFileModel):
    """Content of `tuned.json`."""

    tuned_hash: str = Field(description="the hash of what was tuned")
    encoder: str = Field(description="the id of the encoder")
    intent: float = Field(ge=0, le=1, description="a probability")
    clarify: float = Field(ge=0, le=1, description="a probability")
    retrieval: float = Field(ge=0, le=1, description="a share")
    similarity: float = Field(DEFAULT_SIMILARITY, ge=0, le=1, description="a cosine")
    support: float = Field(ge=0, le=1, description="a share")
    max_wrong: float = Field(ge=0, le=1, description="a share of messages")
    calibration_error: float = Field(ge=0, le=1, description="a probability")
    num_messages: int = Field(ge=0, description="a number of messages")


def tuned_hash(definition: ScenarioDefinition, encoder_id: str) -> str:
    """Hash of what thresholds depend on: intents with their examples, and the encoder."""
    intents = {
        name: {language: list(lines) for language, lines in sorted(intent.examples.items())}
        for name, intent in sorted(definition.intents.items())
    }
    content = json.dumps([encoder_id, intents], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read_tuned(definition: ScenarioDefinition, encoder_id: str) -> Thresholds | None:
    """The tuned thresholds; None if there are none, or if something else was tuned. Raises `UserError`."""
    path = definition.folder / TUNED_FILE
    if not path.is_file():
        return None
    values = read_json_object(path, max_bytes=100_000)
    validate_fields(TunedFile, values, str(path))
    tuned = TunedFile.model_validate(values)
    if tuned.tuned_hash != tuned_hash(definition, encoder_id):
        return None
    return Thresholds(tuned.intent, tuned.clarify, tuned.retrieval, tuned.similarity, tuned.support)


def write_tuned(
    definition: ScenarioDefinition, encoder_id: str, thresholds: Thresholds, *, max_wrong: float,
    calibration_error: float, num_messages: int,
) -> Path:  # fmt: skip
    """Write `tuned.json` beside the scenario. Raises `SaveFailed`."""
    path = definition.folder / TUNED_FILE
    values = {
        "tuned_hash": tuned_hash(definition, encoder_id), "encoder": encoder_id, **asdict(thresholds),
        "max_wrong": max_wrong, "calibration_error": round(calibration_error, 6), "num_messages": num_messages,
    }  # fmt: skip
    atomic_write(path, json.dumps(values, indent=2) + "\n")
    return path
