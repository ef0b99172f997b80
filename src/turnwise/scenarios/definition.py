"""A loaded scenario: everything in its folder, immutable, with a content hash."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.scenario import Scenario
from turnwise.scenarios.answer_template import AnswerTemplate
from turnwise.scenarios.dialogues import TestConversation, as_messages
from turnwise.scenarios.facts import Fact
from turnwise.scenarios.field_types import localize
from turnwise.scenarios.intents import Intent
from turnwise.scenarios.message_classifier import EmergencyPrediction, Floats
from turnwise.scenarios.phrases import MessageWords
from turnwise.scenarios.safety_matching import SafetyClassifierSettings, SafetyMatch, classifier_windows, match_phrases
from turnwise.scenarios.settings import ScenarioSettings
from turnwise.scenarios.slots import Slot
from turnwise.scenarios.spoken_lines import Refusal, SafetyLine


@dataclass(frozen=True, slots=True)
class KnowledgeDocument:
    """A document of a scenario.

    Attributes:
        path: path relative to the scenario's folder, with slashes.
        language: language of the folder that it is in (`knowledge/zh/...`); None for all languages.
        text: content of a text or Markdown file; None for other formats.
        content: bytes of other formats, which need a parser; None for text and Markdown.
    """

    path: str
    language: str | None
    text: str | None
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ScenarioDefinition:
    """A scenario.

    Attributes:
        name: name of its folder.
        folder: the folder.
        content_hash: SHA-256 of all files, in hexadecimal.
        settings: `scenario.yaml`.
        intents: `intents.yaml` by name.
        templates: `templates.yaml` by intent and language.
        slots, facts, safety, refusals: the files of these names, by name.
        examples: `examples.yaml` by language: texts of user and assistant in turn.
        documents: files of the knowledge folders.
        tests: conversations of `tests/*.yaml`.
        test_files: name of the file of every test, by id.
        safety_classifier: entry `classifier` of `safety.yaml`; None without one.
    """

    name: str
    folder: Path
    content_hash: str
    settings: ScenarioSettings
    intents: Mapping[str, Intent]
    templates: Mapping[str, Mapping[str, tuple[AnswerTemplate, ...]]]
    slots: Mapping[str, Slot]
    facts: Mapping[str, Fact]
    examples: Mapping[str, tuple[tuple[str, ...], ...]]
    safety: Mapping[str, SafetyLine]
    refusals: Mapping[str, Refusal]
    documents: tuple[KnowledgeDocument, ...]
    tests: tuple[TestConversation, ...]
    test_files: Mapping[str, str]
    safety_classifier: SafetyClassifierSettings | None = None

    def supports(self, language: str) -> bool:
        """True if the scenario is written in a language."""
        return language in self.settings.languages

    def check_language(self, language: str | None) -> str:
        """`language`, or the default one for None. Raises `InvalidParameter` for one that the scenario lacks."""
        if language is None:
            return self.settings.default_language
        if not self.supports(language):
            languages = ", ".join(self.settings.languages)
            raise InvalidParameter("language", f"The scenario '{self.name}' has no texts in '{language}': {languages}.")
        return language

    def fact_values(self, language: str) -> dict[str, str]:
        """The facts in a language, and the slots that stand for facts."""
        default = self.settings.default_language
        values = {name: fact.text(language, default) for name, fact in self.facts.items()}
        slots = {name: values[slot.fact] for name, slot in self.slots.items() if slot.fact in values}
        return {**values, **slots}

    def system_prompt(self, language: str) -> str:
        """Instruction and tone in a language, with the values of facts."""
        default = self.settings.default_language
        texts = [localize(self.settings.instruction, language, default).render(self.fact_values(language))]
        if self.settings.tone is not None:
            texts.append(localize(self.settings.tone, language, default))
        return "\n\n".join(texts)

    def example_messages(self, language: str) -> tuple[Message, ...]:
        """The few-shot dialogues in a language, at most `limits.max_examples`, as one list of messages."""
        if not self.examples:
            return ()
        dialogues = localize(self.examples, language, self.settings.default_language)
        return tuple(m for turns in dialogues[: self.settings.limits.max_examples] for m in as_messages(turns))

    def as_scenario(self, language: str) -> Scenario:
        """The fixed texts of a conversation in a language: the system prompt, followed by the examples as text.

        Examples in the system prompt are no messages of the conversation that is stored.
        """
        roles = {"user": "User", "assistant": "Assistant"}
        lines = [f"{roles[message.role]}: {message.content}" for message in self.example_messages(language)]
        examples = ["Examples of answers:\n" + "\n".join(lines)] if lines else []
        return Scenario(self.name, "\n\n".join([self.system_prompt(language), *examples]))

    def match_safety(self, message: str) -> SafetyMatch | None:
        """The safety line of a message by phrases, else by the classifier without an embedding model, or None."""
        return self.match_safety_phrases(message) or self.classify_safety(message)[0]

    def match_safety_phrases(self, message: str) -> SafetyMatch | None:
        """The first safety line with a phrase that a message has, or None."""
        return match_phrases(self.safety, message)

    def classify_safety(
        self, message: str, vectors_WD: Floats | None = None
    ) -> tuple[SafetyMatch | None, EmergencyPrediction | None]:
        """The safety line of a message by the classifier, and the prediction; None without a line or a classifier.

        Args:
            message: the message.
            vectors_WD: vectors of `safety_windows` by an embedding model that the classifier accepts.
        """
        settings = self.safety_classifier
        if settings is None:
            return None, None
        prediction = settings.model.predict(self.safety_windows(message), vectors_WD)
        if not prediction.is_emergency:
            return None, prediction
        name = settings.line_of(prediction, self.safety)
        return SafetyMatch(name, self.safety[name]), prediction

    def safety_windows(self, message: str) -> list[str]:
        """The parts of a message that the classifier reads."""
        return classifier_windows(self.safety, message)

    def match_refusal(self, message: str) -> tuple[str, Refusal] | None:
        """Topic and refusal that a message matches first, or None."""
        words = MessageWords(message)
        return next(((topic, refusal) for topic, refusal in self.refusals.items() if refusal.match(words)), None)

    def refusal_text(self, topic: str, language: str) -> str:
        """The sentence that declines a topic."""
        say = localize(self.refusals[topic].say, language, self.settings.default_language)
        return say.render(self.fact_values(language))

    def answer_templates(self) -> Iterator[tuple[str, str, int, AnswerTemplate]]:
        """All templates of `templates.yaml`: intent, language, position from 1, template."""
        for intent, by_language in self.templates.items():
            for language, templates in by_language.items():
                for number, template in enumerate(templates, 1):
                    yield intent, language, number, template
