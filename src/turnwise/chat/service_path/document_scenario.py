"""How requests with `knowledge` and without a scenario are answered: from the passages alone, with citations."""

from pathlib import Path
from types import ModuleType

from turnwise.chat.service_path import grounded_answer, handoff_state, no_answer
from turnwise.chat.service_path.intent_classifier import IntentClassifier
from turnwise.chat.service_path.scenario_resources import ScenarioResources
from turnwise.chat.service_path.text_encoders import LexicalEncoder
from turnwise.chat.service_path.tuned_thresholds import Thresholds
from turnwise.core.strict_model import parse_strict_model
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.field_types import empty_map
from turnwise.scenarios.settings import ScenarioSettings

DOCUMENT_STEPS: tuple[ModuleType, ...] = (handoff_state, grounded_answer, no_answer)
_SETTINGS = {
    "schema_version": 1,
    "title": {"en": "Documents", "zh": "文档"},
    "description": {"en": "Answers from documents.", "zh": "根据文档回答。"},
    "languages": ["en", "zh"],
    "default_language": "en",
    "instruction": {
        "en": "Answer the question from the passages, briefly and in their words.",
        "zh": "请根据给出的段落简短回答问题，并使用其中的原话。",
    },
    "unmatched": "knowledge",
    "messages": {
        "no_answer": {"en": "The documents have no answer to this.", "zh": "文档中没有这个问题的答案。"},
    },
}

DOCUMENT_SCENARIO = ScenarioDefinition(
    name="", folder=Path(), content_hash="",
    settings=parse_strict_model(ScenarioSettings, _SETTINGS, origin="documents"),
    intents=empty_map(), templates=empty_map(), slots=empty_map(), facts=empty_map(), examples=empty_map(),
    safety=empty_map(), refusals=empty_map(), documents=(), tests=(), test_files=empty_map(),
)  # fmt: skip


EMPTY_RESOURCES = ScenarioResources(IntentClassifier(LexicalEncoder(), None), Thresholds())
"""Resources that recognise no intents and have no documents."""
