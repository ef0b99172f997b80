"""Loads a scenario from its folder. Every error names the file, and the key or the line."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from turnwise.core.errors import InvalidData, InvalidParameter, did_you_mean
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import parse_yaml
from turnwise.scenarios.answer_template import AnswerTemplate
from turnwise.scenarios.definition import KnowledgeDocument, ScenarioDefinition
from turnwise.scenarios.dialogues import ExampleDialogues, TestConversation
from turnwise.scenarios.facts import Fact
from turnwise.scenarios.field_types import MAX_ENTRIES, Language, Name, frozen_map
from turnwise.scenarios.folder_snapshot import SETTINGS_FILE, TESTS_FOLDER, FolderSnapshot, read_folder
from turnwise.scenarios.intents import Intent
from turnwise.scenarios.safety_matching import CLASSIFIER_KEY, SafetyClassifierSettings
from turnwise.scenarios.settings import ScenarioSettings
from turnwise.scenarios.slots import Slot
from turnwise.scenarios.spoken_lines import Refusal, SafetyLine

TEXT_SUFFIXES = (".md", ".txt")
DOCUMENT_SUFFIXES = (*TEXT_SUFFIXES, ".html", ".htm", ".pdf", ".docx", ".xlsx", ".csv", ".tsv")
SAFETY_FILE = "safety.yaml"
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_LANGUAGE: TypeAdapter[str] = TypeAdapter(Language)
_EXAMPLES: TypeAdapter[tuple[tuple[str, ...], ...]] = TypeAdapter(ExampleDialogues)

S = TypeVar("S", bound=StrictModel)
T = TypeVar("T")


def load_scenario(folder: str | Path) -> ScenarioDefinition:
    """Load a scenario. Raises `InvalidData` if a file is missing, malformed or too large."""
    path = Path(folder)
    return parse_snapshot(read_folder(path), path.resolve().name)


def parse_snapshot(snapshot: FolderSnapshot, name: str) -> ScenarioDefinition:
    """Parse the files of a folder as the scenario `name`. Raises `InvalidData`."""
    return _SnapshotParser(snapshot).parse(name)


class _SnapshotParser:
    def __init__(self, snapshot: FolderSnapshot) -> None:
        self.snapshot = snapshot

    def parse(self, name: str) -> ScenarioDefinition:
        settings = self._model(ScenarioSettings, self._yaml(SETTINGS_FILE), SETTINGS_FILE)
        facts = self._models("facts.yaml", Fact)
        refusals = self._models("refusals.yaml", Refusal)
        for file, key, templates in (
            (SETTINGS_FILE, "instruction", settings.instruction),
            *(("refusals.yaml", topic, refusal.say) for topic, refusal in refusals.items()),
        ):
            self._check_facts(file, key, templates.values(), facts)
        tests, test_files = self._tests()
        safety = self._models(SAFETY_FILE, SafetyLine, left_out=CLASSIFIER_KEY)
        return ScenarioDefinition(
            name=name,
            folder=self.snapshot.folder,
            content_hash=self.snapshot.content_hash,
            settings=settings,
            intents=self._models("intents.yaml", Intent),
            templates=self._templates(),
            slots=self._models("slots.yaml", Slot),
            facts=facts,
            examples=self._examples(),
            safety=safety,
            refusals=refusals,
            documents=self._documents(settings),
            tests=tests,
            test_files=test_files,
            safety_classifier=self._safety_classifier(safety),
        )

    def _error(self, file: str, problem: object) -> InvalidData:
        return InvalidData(f"{self.snapshot.folder / file}: {problem}")

    def _text(self, file: str) -> str:
        try:
            return self.snapshot.files[file].decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self._error(file, f"byte {error.start} is not UTF-8. Save the file as UTF-8.") from error

    def _yaml(self, file: str) -> Any:
        return parse_yaml(self._text(file), str(self.snapshot.folder / file))

    def _mapping(self, file: str) -> dict[str, Any]:
        """The entries of an optional file by name."""
        values = self._yaml(file) if file in self.snapshot.files else None
        if values is None:
            return {}
        if not isinstance(values, dict):
            raise self._error(file, f"the file should hold 'name: ...' entries, not a {type(values).__name__}.")
        if len(values) > MAX_ENTRIES:
            raise self._error(file, f"the file has {len(values):,} entries; at most {MAX_ENTRIES} are read.")
        return values

    def _model(self, model: type[S], values: Any, file: str, entry: str = "") -> S:
        origin = str(self.snapshot.folder / file) + (f", '{entry}'" if entry else "")
        try:
            return parse_strict_model(model, values, origin=origin)
        except InvalidParameter as error:
            raise InvalidData(str(error)) from error

    def _models(self, file: str, model: type[S], *, left_out: str | None = None) -> Mapping[str, S]:
        return frozen_map(
            {
                self._checked(_NAME, name, file, "a name"): self._model(model, values, file, str(name))
                for name, values in self._mapping(file).items()
                if name != left_out
            }
        )

    def _safety_classifier(self, safety: Mapping[str, SafetyLine]) -> SafetyClassifierSettings | None:
        """The classifier, if there is one. Without it, every line needs phrases."""
        values = self._mapping(SAFETY_FILE).get(CLASSIFIER_KEY)
        settings = (
            None if values is None else self._model(SafetyClassifierSettings, values, SAFETY_FILE, CLASSIFIER_KEY)
        )
        kinds = () if settings is None else settings.model.kinds
        targets = {} if settings is None else {"unsure": settings.unsure, **settings.lines}
        for key, name in targets.items():
            if name not in safety:
                hint = did_you_mean(name, safety) if safety else "there are no lines."
                raise self._error(SAFETY_FILE, f"'{CLASSIFIER_KEY}': there is no '{name}'; {hint}")
            if key != "unsure" and key not in kinds:
                raise self._error(
                    SAFETY_FILE, f"'{CLASSIFIER_KEY}.lines': no kind is called '{key}'; {did_you_mean(key, kinds)}"
                )
        for name, line in safety.items():
            if not line.phrases and name not in (*kinds, *targets.values()):
                raise self._error(SAFETY_FILE, f"'{name}' needs 'phrases': no message can match it.")
        return settings

    def _checked(self, adapter: TypeAdapter[T], value: Any, file: str, noun: str) -> T:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            path = "".join(f", entry {key + 1}" for key in problem["loc"] if isinstance(key, int))
            reason = problem["msg"].removeprefix("Value error, ")
            raise self._error(file, f"{noun} is invalid{path}: {reason} (got {str(value)[:60]!r}).") from error

    def _templates(self) -> Mapping[str, Mapping[str, tuple[AnswerTemplate, ...]]]:
        file = "templates.yaml"
        templates: dict[str, Mapping[str, tuple[AnswerTemplate, ...]]] = {}
        for name, by_language in self._mapping(file).items():
            intent = self._checked(_NAME, name, file, "a name")
            if not isinstance(by_language, dict) or not by_language:
                raise self._error(file, f"'{intent}' should hold texts by language, such as 'en: [Hello]'.")
            parsed = {}
            for code, texts in by_language.items():
                language = self._checked(_LANGUAGE, code, file, f"a language of '{intent}'")
                alternatives = [texts] if isinstance(texts, str) else texts
                if not isinstance(alternatives, list) or not 1 <= len(alternatives) <= MAX_ENTRIES:
                    raise self._error(file, f"'{intent}.{language}' should be a text or a list of texts.")
                try:
                    parsed[language] = tuple(map(AnswerTemplate.parse, alternatives))
                except InvalidParameter as error:
                    raise self._error(file, f"'{intent}.{language}': {error}") from error
            templates[intent] = frozen_map(parsed)
        return frozen_map(templates)

    def _examples(self) -> Mapping[str, tuple[tuple[str, ...], ...]]:
        file = "examples.yaml"
        return frozen_map(
            {
                self._checked(_LANGUAGE, code, file, "a language"): self._checked(
                    _EXAMPLES, dialogues, file, f"a dialogue of '{code}'"
                )
                for code, dialogues in self._mapping(file).items()
            }
        )

    def _tests(self) -> tuple[tuple[TestConversation, ...], Mapping[str, str]]:
        tests: list[TestConversation] = []
        files: dict[str, str] = {}
        for file in self.snapshot.paths_under(TESTS_FOLDER, ".yaml"):
            entries = self._yaml(file)
            if not isinstance(entries, list) or not entries:
                raise self._error(file, "the file should hold a list of conversations, each beginning with '- id: '.")
            for number, values in enumerate(entries, 1):
                label = values.get("id", number) if isinstance(values, dict) else number
                test = self._model(TestConversation, values, file, f"test {label}")
                if test.id in files:
                    raise self._error(file, f"the id '{test.id}' occurs twice; the first one is in {files[test.id]}.")
                files[test.id] = file
                tests.append(test)
        return tuple(tests), frozen_map(files)

    def _documents(self, settings: ScenarioSettings) -> tuple[KnowledgeDocument, ...]:
        documents: list[KnowledgeDocument] = []
        for folder in settings.knowledge:
            paths = self.snapshot.paths_under(folder)
            if not paths:
                raise self._error(SETTINGS_FILE, f"'knowledge' names the folder '{folder}', which has no documents.")
            for path in paths:
                if not path.endswith(DOCUMENT_SUFFIXES):
                    raise self._error(path, f"a document ends with {', '.join(DOCUMENT_SUFFIXES)}.")
                subfolder = path.split("/")[1]
                language = subfolder if subfolder in settings.languages else None
                if path.endswith(TEXT_SUFFIXES):
                    documents.append(KnowledgeDocument(path, language, self._text(path)))
                else:
                    documents.append(KnowledgeDocument(path, language, None, self.snapshot.files[path]))
        return tuple(documents)

    def _check_facts(self, file: str, key: str, templates: Iterable[AnswerTemplate], facts: Mapping[str, Fact]) -> None:
        """Raise `InvalidData` for a slot that is no fact: these texts are used before there is a message to read."""
        for template in templates:
            for slot in template.slots:
                if slot not in facts:
                    raise self._error(file, f"'{key}' uses {{{{ {slot} }}}}, and facts.yaml has no '{slot}'.")
